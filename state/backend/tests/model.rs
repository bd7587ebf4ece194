//! The table against a `BTreeMap`, at random: inserts, updates, removals, growth, splits, flips, walks, exports
//! and imports interleaved. A failure names its seed; `SEED=n cargo test -p wiesel-state --test model` replays it,
//! and `SEEDS=n` runs so many.
//!
//! A replica is kept from bases and increments alone: after each walk it equals the model at the flip. Half of the seeds
//! keep it as bytes, as files of checkpoints do.

mod random;

use std::{collections::BTreeMap, sync::Arc};

use random::{Random, mix};
use wiesel_core::{KeyGroup, KeyGroupRange, key_group_of};
use wiesel_state::{
    BlockCell, Cell, KeyHash, KeyLayout, Piece, Progress, Row, RowEvent, RowLayout, Scope, Table,
    TableError,
};

fn good(key: &[u8]) -> u64 {
    key.iter().fold(key.len() as u64, |h, byte| mix(h ^ u64::from(*byte)))
}
/// All keys collide.
fn all_equal(_: &[u8]) -> u64 {
    0x1234_5678_9abc_def0
}
/// The one hash whose word would say "empty", and its neighbour.
fn extreme(key: &[u8]) -> u64 {
    u64::MAX - good(key) % 2
}
/// No bit to split by, in all groups.
fn equal_low(key: &[u8]) -> u64 {
    good(key) & !0xffff_ffff | 5
}
/// All in one key group.
fn one_group(key: &[u8]) -> u64 {
    good(key) & 0xffff_ffff
}
/// A few homes, all at the end of their segments: chains wrap around.
fn crowded(key: &[u8]) -> u64 {
    good(key) | 0xfff8
}

type ModelRow = (Vec<Option<Vec<u8>>>, Vec<Option<Vec<u8>>>);
type Model = BTreeMap<(u16, Vec<u8>), ModelRow>;

/// Names the first key that differs: whole models are too long to read.
fn assert_same(found: &Model, expected: &Model, what: &str) {
    let keys = found.keys().chain(expected.keys());
    if let Some(key) = keys.into_iter().find(|key| found.get(key) != expected.get(key)) {
        let short = |row: Option<&ModelRow>| {
            let (cells, blocks) = row?;
            let cell =
                |cell: &Option<Vec<u8>>| cell.as_ref().map(|c| (c.len(), c.first().copied()));
            Some(cells.iter().chain(blocks).map(cell).collect::<Vec<_>>())
        };
        let rows = (short(found.get(key)), short(expected.get(key)));
        panic!("{what}: {key:?} is {:?} and should be {:?}", rows.0, rows.1);
    }
}

/// The model at the flip, the walk's scope, what it gave so far, and the groups and keys of that in order.
type Walk = (Model, Scope, Model, Vec<(u16, Option<Vec<u8>>)>);

/// The pieces of each group, in order.
type Chain = BTreeMap<u16, Vec<Vec<u8>>>;

struct Harness {
    layout: Arc<RowLayout>,
    cells: Vec<Cell>,
    blocks: Vec<BlockCell>,
    range: KeyGroupRange,
    max_parallelism: u32,
    table: Table,
    model: Model,
    keys: Vec<Vec<u8>>,
    /// Made of bases and increments alone.
    replica: Option<Model>,
    walk: Option<Walk>,
    /// The replica as bytes, and that of a walk of all rows.
    chains: Option<[Chain; 2]>,
    buffer: Vec<u8>,
}

impl Harness {
    fn new(random: &mut Random) -> Self {
        let key = match random.below(3) {
            0 => KeyLayout::Bytes,
            1 => KeyLayout::Word { bytes: 8 },
            _ => KeyLayout::Word { bytes: 1 + random.below(8) as u8 },
        };
        let hash: KeyHash =
            random.pick(&[good, good, good, all_equal, extreme, equal_low, one_group, crowded]);
        let mut builder = RowLayout::build(key, hash);
        let (mut cells, mut blocks) = (0, 0);
        let wide = random.pick(&[1, 8, 8, 12, 100, 1_000, 4_000]);
        for cell in 0..random.below(4) {
            if random.below(3) == 0 {
                builder = builder.block(&format!("b{cell}"));
                blocks += 1;
            } else {
                builder = builder.cell(&format!("c{cell}"), if cell == 0 { wide } else { 9 });
                cells += 1;
            }
        }
        let layout = builder.finish().unwrap();
        let names: Vec<String> = (0..4).map(|cell| cell.to_string()).collect();
        let found = |name: &String| layout.cell(&format!("c{name}"));
        let found_cells: Vec<Cell> = names.iter().filter_map(found).collect();
        let found_blocks: Vec<BlockCell> =
            names.iter().filter_map(|name| layout.block(&format!("b{name}"))).collect();
        assert_eq!((found_cells.len(), found_blocks.len()), (cells, blocks));
        let max_parallelism = random.pick(&[1, 2, 7, 128]);
        let parallelism = 1 + random.below(max_parallelism.min(3)) as u32;
        let max_parallelism = max_parallelism as u32;
        let subtask = random.below(parallelism.into()) as u32;
        let range = KeyGroupRange::of_subtask(subtask, parallelism, max_parallelism);
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for _ in 0..random.pick(&[3, 30, 300, 1_500]) {
            let mut bytes = match key {
                KeyLayout::Word { bytes } => vec![0; bytes.into()],
                KeyLayout::Bytes => vec![0; random.pick(&[0, 1, 3, 8, 9, 40])],
            };
            match random.below(20) {
                0 => bytes.fill(0xff),
                1 => {}
                _ => bytes.iter_mut().for_each(|byte| *byte = random.next() as u8),
            }
            if range.contains(key_group_of(hash(&bytes), max_parallelism)) {
                keys.push(bytes);
            }
        }
        let table = Table::new(layout.clone(), range, max_parallelism);
        Self {
            layout,
            cells: found_cells,
            blocks: found_blocks,
            range,
            max_parallelism,
            table,
            model: Model::new(),
            keys,
            replica: None,
            walk: None,
            chains: (random.below(2) == 0).then(Default::default),
            buffer: Vec::new(),
        }
    }

    fn model_row(&self, row: &Row<'_>) -> ModelRow {
        (
            self.cells.iter().map(|cell| row.get(*cell).map(<[u8]>::to_vec)).collect(),
            self.blocks.iter().map(|cell| row.block(*cell).map(<[u8]>::to_vec)).collect(),
        )
    }

    fn group(&self, key: &[u8]) -> u16 {
        key_group_of(self.layout.hash(key), self.max_parallelism).0
    }

    fn fresh(&self) -> ModelRow {
        let only = self.cells.len() == 1 && self.blocks.is_empty();
        let size = |cell: &Cell| {
            let name = (0..4).map(|c| format!("c{c}")).find(|n| self.layout.cell(n) == Some(*cell));
            let text = self.layout.to_string();
            let (_, after) = text.split_once(&format!("{}: ", name.unwrap())).unwrap();
            after.split(',').next().unwrap().parse::<usize>().unwrap()
        };
        let cells = self.cells.iter().map(|cell| only.then(|| vec![0; size(cell)])).collect();
        (cells, vec![None; self.blocks.len()])
    }

    fn write(&mut self, random: &mut Random) {
        let Some(key) = self.some_key(random) else { return };
        let (hash, id) = (self.layout.hash(&key), (self.group(&key), key.clone()));
        let fresh = self.fresh();
        let mut row = self.table.upsert(hash, &key);
        assert_eq!(row.inserted(), !self.model.contains_key(&id));
        let expected = self.model.entry(id).or_insert(fresh);
        for (at, cell) in self.cells.iter().enumerate() {
            match random.below(4) {
                0 if self.cells.len() + self.blocks.len() > 1 => {
                    row.clear(*cell);
                    expected.0[at] = None;
                }
                1 => {}
                _ => {
                    let value = row.cell_mut(*cell);
                    value.fill(random.next() as u8);
                    expected.0[at] = Some(value.to_vec());
                }
            }
        }
        for (at, cell) in self.blocks.iter().enumerate() {
            match random.below(4) {
                0 => {
                    row.clear_block(*cell);
                    expected.1[at] = None;
                }
                1 => {}
                _ => {
                    let len = random.pick(&[0, 1, 20, 1_100]);
                    let block = vec![random.next() as u8; len];
                    row.set_block(*cell, &block).unwrap();
                    expected.1[at] = Some(block);
                }
            }
        }
    }

    fn some_key(&self, random: &mut Random) -> Option<Vec<u8>> {
        (!self.keys.is_empty())
            .then(|| self.keys[random.below(self.keys.len() as u64) as usize].clone())
    }

    fn remove(&mut self, random: &mut Random) {
        let Some(key) = self.some_key(random) else { return };
        let was = self.model.remove(&(self.group(&key), key.clone())).is_some();
        assert_eq!(self.table.remove(self.layout.hash(&key), &key), was);
        assert!(self.table.find(self.layout.hash(&key), &key).is_none());
    }

    fn find(&mut self, random: &mut Random) {
        let Some(key) = self.some_key(random) else { return };
        let (hash, group) = (self.layout.hash(&key), self.group(&key));
        let expected = self.model.get(&(group, key.clone()));
        let found = self.table.find(hash, &key);
        assert_eq!(found.map(|row| self.model_row(&row)).as_ref(), expected);
        assert_eq!(found.map(|row| row.key().to_vec()), expected.map(|_| key.clone()));
        let expected = expected.cloned();
        let Some(mut row) = self.table.find_mut(hash, &key) else {
            return assert!(expected.is_none());
        };
        if let (Some(block), Some((_, expected))) =
            (self.blocks.first(), self.model.get_mut(&(group, key)))
        {
            row.set_block(*block, b"found").unwrap();
            expected[0] = Some(b"found".to_vec());
        }
    }

    fn flip(&mut self, random: &mut Random) {
        let scope = random.pick(&[Scope::Full, Scope::Base, Scope::Increment, Scope::Increment]);
        match self.table.flip(scope) {
            Ok(_) => {
                assert!(self.walk.is_none());
                assert!(scope != Scope::Increment || self.replica.is_some());
                let given = match scope {
                    Scope::Increment => self.replica.clone().unwrap(),
                    Scope::Full | Scope::Base => Model::new(),
                };
                self.walk = Some((self.model.clone(), scope, given, Vec::new()));
            }
            Err(TableError::WalkUnfinished { .. }) => assert!(self.walk.is_some()),
            Err(TableError::NoBase) => assert!(scope == Scope::Increment && self.replica.is_none()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Nobody wants what the walk gives.
    fn discard(&mut self, random: &mut Random) {
        self.table.discard_walk();
        let Some((_, scope, ..)) = self.walk.take() else { return };
        if scope != Scope::Full {
            self.replica = None;
        }
        while random.below(4) > 0 {
            self.write(random);
            self.remove(random);
            self.table.walk(random.pick(&[1, 1_000]), &mut |_, _| panic!("it is discarded"));
        }
        while self.table.walk(1_000, &mut |_, _| panic!("it is discarded")) == Progress::More {
            assert!(self.table.is_walking());
        }
    }

    /// As [`Harness::walk`], of bytes.
    fn walk_pieces(&mut self, budget: usize) {
        let Some(mut chains) = self.chains.take() else { return };
        let Some((expected, scope, ..)) = &self.walk else {
            let nothing = &mut |_: Piece<'_>| panic!("no walk");
            let done = self.table.walk_pieces(budget, &mut self.buffer, nothing);
            assert_eq!(done, Progress::Done);
            self.chains = Some(chains);
            return;
        };
        let chain = &mut chains[usize::from(*scope == Scope::Full)];
        let progress = self.table.walk_pieces(budget, &mut self.buffer, &mut |piece| {
            let pieces = chain.entry(piece.group.0).or_default();
            if piece.begins {
                pieces.clear();
            }
            assert!(piece.begins || !piece.bytes.is_empty());
            pieces.push(piece.bytes.to_vec());
        });
        if progress == Progress::Done {
            let mut copy = Table::new(self.layout.clone(), self.range, self.max_parallelism);
            let pieces: Vec<u8> = chain.values().flatten().flatten().copied().collect();
            copy.import(&pieces).unwrap();
            let rows = copy.iter();
            let found = rows.map(|(g, row)| ((g.0, row.key().to_vec()), self.model_row(&row)));
            let found: Model = found.collect();
            assert_same(&found, expected, &format!("{scope:?} {}", self.layout));
            if *scope != Scope::Full {
                self.replica = Some(found);
            }
            self.walk = None;
        }
        self.chains = Some(chains);
    }

    fn walk(&mut self, budget: usize) {
        if self.chains.is_some() {
            return self.walk_pieces(budget);
        }
        let Some((expected, scope, mut given, mut seen)) = self.walk.take() else {
            return assert_eq!(
                self.table.walk(budget, &mut |_, _| panic!("no walk")),
                Progress::Done
            );
        };
        let (cells, blocks) = (self.cells.clone(), self.blocks.clone());
        let progress = self.table.walk(budget, &mut |group, event| match event {
            RowEvent::Whole => {
                given.retain(|(other, _), _| *other != group.0);
                seen.push((group.0, None));
            }
            RowEvent::Removed(key) => {
                assert!(seen.iter().all(|(other, key)| *other < group.0 || key.is_none()));
                given.remove(&(group.0, key.to_vec()));
            }
            RowEvent::Row(row) => {
                let value = (
                    cells.iter().map(|cell| row.get(*cell).map(<[u8]>::to_vec)).collect(),
                    blocks.iter().map(|cell| row.block(*cell).map(<[u8]>::to_vec)).collect(),
                );
                seen.push((group.0, Some(row.key().to_vec())));
                given.insert((group.0, row.key().to_vec()), value);
            }
        });
        if progress == Progress::More {
            self.walk = Some((expected, scope, given, seen));
            return;
        }
        assert!(!self.table.is_walking());
        assert!(seen.windows(2).all(|pair| pair[0].0 <= pair[1].0), "groups come in order");
        assert_same(&given, &expected, &format!("{scope:?} {}", self.layout));
        let rows = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), rows, "each row once");
        if scope != Scope::Full {
            self.replica = Some(given);
        }
    }

    fn check_all(&self) {
        let rows: Vec<_> = self.table.iter().collect();
        assert!(rows.windows(2).all(|pair| pair[0].0 <= pair[1].0), "groups come in order");
        assert_eq!(rows.len(), self.model.len());
        assert_eq!(self.table.len(), self.model.len());
        let found: Model = rows
            .iter()
            .map(|(group, row)| ((group.0, row.key().to_vec()), self.model_row(row)))
            .collect();
        assert_same(&found, &self.model, "rows");
    }

    /// Every group goes to one of a few tables at another parallelism; together they are the model.
    fn rescale(&self, random: &mut Random) {
        let parallelism = 1 + random.below(u64::from(self.max_parallelism.min(4))) as u32;
        let mut found = Model::new();
        for subtask in 0..parallelism {
            let range = KeyGroupRange::of_subtask(subtask, parallelism, self.max_parallelism);
            let mut table = Table::new(self.layout.clone(), range, self.max_parallelism);
            let mut bytes = Vec::new();
            range.iter().for_each(|group| self.table.export_group(group, &mut bytes));
            table.import(&bytes).unwrap();
            let rows = table.iter();
            found.extend(rows.map(|(g, row)| ((g.0, row.key().to_vec()), self.model_row(&row))));
        }
        assert_same(&found, &self.model, "rows");
    }

    fn step(&mut self, random: &mut Random) {
        match random.below(1_000) {
            0..500 => self.write(random),
            500..700 => self.remove(random),
            700..800 => self.find(random),
            800..820 => self.flip(random),
            820..823 => self.discard(random),
            823..985 => self.walk(random.pick(&[1, 1_000, 100_000])),
            985..990 => {
                let group = self.range.first + random.below(self.range.len() as u64 + 2) as u16;
                self.table.rebase(KeyGroup(group));
            }
            990..995 => self.check_all(),
            995..998 => self.rescale(random),
            _ => {
                self.table.clear();
                self.model.clear();
            }
        }
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut harness = Harness::new(&mut random);
    for _ in 0..random.pick(&[100, 1_000, 3_000]) {
        harness.step(&mut random);
    }
    while harness.walk.is_some() {
        harness.walk(1_000_000);
    }
    harness.check_all();
    harness.rescale(&mut random);
}

#[test]
fn the_table_is_a_map_and_its_snapshots_are_the_flips() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(1_000),
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| run(seed));
        assert!(run.is_ok(), "SEED={seed}");
    }
}
