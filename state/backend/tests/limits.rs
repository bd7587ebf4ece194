//! Extreme sizes, colliding hashes, bytes that nobody wrote, and what small tables cost.

use std::{panic::catch_unwind, sync::Arc};

use wiesel_core::{KeyGroup, KeyGroupRange, MAX_PARALLELISM_LIMIT};
use wiesel_state::{
    KeyHash, KeyLayout, Piece, Progress, RowEvent, RowLayout, Scope, Table, TableError,
};

fn good(key: &[u8]) -> u64 {
    key.iter().fold(0x9E37_79B9_7F4A_7C15, |h, byte| {
        let h = (h ^ u64::from(*byte)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        h ^ h >> 31
    })
}

fn words(hash: KeyHash, bytes: usize) -> Arc<RowLayout> {
    RowLayout::of_value(KeyLayout::Word { bytes: 8 }, hash, bytes).unwrap()
}

/// Adds keys `0..count` with their number as value, checks them, removes every other one, checks again.
fn fill_and_empty(layout: &Arc<RowLayout>, max_parallelism: u32, count: u64) -> Table {
    let mut table =
        Table::new(layout.clone(), KeyGroupRange::all(max_parallelism), max_parallelism);
    let hash = |key: u64| layout.hash(&key.to_le_bytes());
    for key in 0..count {
        table.upsert(hash(key), &key.to_le_bytes()).value_mut()[..8]
            .copy_from_slice(&key.to_le_bytes());
    }
    let is_there = |table: &Table, key: u64| {
        let row = table.find(hash(key), &key.to_le_bytes());
        row.map(|row| row.value()[..8] == key.to_le_bytes())
    };
    assert!((0..count).all(|key| is_there(&table, key) == Some(true)));
    for key in (0..count).step_by(2) {
        assert!(table.remove(hash(key), &key.to_le_bytes()));
    }
    assert!((0..count).all(|key| is_there(&table, key) == (key % 2 == 1).then_some(true)));
    assert_eq!((table.len(), table.iter().count()), (count as usize / 2, count as usize / 2));
    table
}

#[test]
fn many_keys_take_what_many_keys_take() {
    for max_parallelism in [1, 128, MAX_PARALLELISM_LIMIT] {
        let table = fill_and_empty(&words(good, 8), max_parallelism, 200_000);
        // 16 bytes a row; segments are between 3/8 and 3/4 full, small ones of many groups less so.
        let bytes = table.bytes_used();
        assert!((200_000 * 16..200_000 * 80).contains(&bytes), "{max_parallelism}: {bytes}");
    }
}

#[test]
fn colliding_hashes_cost_probes_and_not_memory() {
    let all_equal: KeyHash = |_| 42;
    let equal_low: KeyHash = |key| good(key) & !0xffff_ffff;
    // The position's bits are equal, the directory's are not, and the other way round.
    let equal_position: KeyHash = |key| good(key) & !0xf_ffff;
    let equal_directory: KeyHash = |key| good(key) & !0xfff0_0000;
    for hash in [all_equal, equal_low, equal_position, equal_directory] {
        for (layout, row_bytes) in
            [(words(hash, 8), 16), (RowLayout::of_value(KeyLayout::Bytes, hash, 8).unwrap(), 56)]
        {
            let table = fill_and_empty(&layout, 128, 2_000);
            let bytes = table.bytes_used();
            assert!(bytes < 2_000 * row_bytes * 8 + 200_000, "{layout}: {bytes}");
        }
    }
}

#[test]
fn small_tables_are_small() {
    for (rows, limit) in [(0, 2_000), (1, 3_000), (10, 8_000), (100, 50_000), (100_000, 9 << 20)] {
        let layout = words(good, 8);
        let mut table = Table::new(layout, KeyGroupRange::all(128), 128);
        (0..rows).for_each(|key: u64| {
            table.upsert(good(&key.to_le_bytes()), &key.to_le_bytes());
        });
        assert!(table.bytes_used() < limit, "{rows} rows: {} bytes", table.bytes_used());
        table.clear();
        assert!(table.bytes_used() < 2_000, "cleared: {} bytes", table.bytes_used());
    }
}

#[test]
fn keys_and_values_of_extreme_sizes() {
    let layout = RowLayout::build(KeyLayout::Bytes, good).cell("wide", 4_095).block("b").finish();
    let layout = layout.unwrap();
    let (wide, block) = (layout.cell("wide").unwrap(), layout.block("b").unwrap());
    let mut table = Table::new(layout.clone(), KeyGroupRange::all(7), 7);
    let keys: Vec<Vec<u8>> = [0, 1, 7, 8, 9, 4_096, 1 << 20].map(|len| vec![b'k'; len]).to_vec();
    let blocks = [0, 1, 1_015, 1_016, 1_017, 1 << 20, 3 << 20].map(|len| vec![b'v'; len]);
    for (key, bytes) in keys.iter().zip(&blocks) {
        let mut row = table.upsert(good(key), key);
        assert!(row.inserted() && row.is_blank());
        row.cell_mut(wide).fill(7);
        row.set_block(block, bytes).unwrap();
        assert!(!row.is_blank());
    }
    table.flip(Scope::Full).unwrap();
    for key in &keys {
        let mut row = table.upsert(good(key), key);
        row.set_block(block, b"new").unwrap();
        row.clear(wide);
        row.clear_block(block);
        assert!(row.is_blank() && row.get(wide).is_none());
        assert!(table.remove(good(key), key));
    }
    let mut seen = 0;
    while table.walk(1, &mut |_, event| {
        if let RowEvent::Row(row) = event {
            let at = keys.iter().position(|key| key == row.key()).unwrap();
            assert_eq!(row.block(block), Some(&blocks[at][..]));
            assert_eq!(row.get(wide), Some(&[7; 4_095][..]));
            seen += 1;
        }
    }) == Progress::More
    {}
    assert_eq!((seen, table.len()), (keys.len(), 0));
    assert!(table.bytes_used() < 1 << 20, "large blocks are freed: {}", table.bytes_used());
}

#[test]
fn a_call_of_the_walk_keeps_its_budget() {
    let mut table = fill_and_empty(&words(good, 8), 128, 200_000);
    table.flip(Scope::Full).unwrap();
    let (mut calls, mut rows) = (0, 0);
    loop {
        let mut given = 0;
        let progress = table.walk(10_000, &mut |_, event| {
            if let RowEvent::Row(row) = event {
                given += row.bytes();
                rows += 1;
            }
        });
        assert!(given <= 10_000 + (64 << 10), "{given}");
        calls += 1;
        if progress == Progress::Done {
            break;
        }
    }
    assert_eq!(rows, 100_000);
    assert!(calls > 20);
}

#[test]
fn misuse_is_refused() {
    // Group 0 of 2; the key is the hash's upper half.
    let upper: KeyHash = |key| u64::from(key[0]) << 32;
    let narrow = || Table::new(words(upper, 8), KeyGroupRange { first: 0, end: 1 }, 2);
    let refused = |key: &[u8]| {
        let mut table = narrow();
        let upsert = || table.upsert(upper(key), key).inserted();
        catch_unwind(std::panic::AssertUnwindSafe(upsert)).is_err()
    };
    assert!(refused(b"short") && refused(b"a key too long"));
    let foreign = (0..100).filter(|key| refused(&[*key, 0, 0, 0, 0, 0, 0, 0])).count();
    assert!((20..80).contains(&foreign), "half of the keys are of the other group: {foreign}");
    let mut table = narrow();
    assert_eq!(table.flip(Scope::Increment), Err(TableError::NoBase));
    assert_eq!(table.flip(Scope::Base), Ok(1));
    assert_eq!(table.flip(Scope::Full), Err(TableError::WalkUnfinished { epoch: 1 }));
}

fn exported() -> (Arc<RowLayout>, Vec<u8>) {
    let layout =
        RowLayout::build(KeyLayout::Bytes, good).cell("a", 3).block("b").block("c").finish();
    let layout = layout.unwrap();
    let mut table = Table::new(layout.clone(), KeyGroupRange::all(3), 3);
    for key in 0..12_u64 {
        let key = &key.to_le_bytes()[..(key as usize) % 8];
        let mut row = table.upsert(good(key), key);
        row.value_mut()[0] = key.len() as u8;
        row.set_block(layout.block("b").unwrap(), key).unwrap();
    }
    let mut bytes = Vec::new();
    (0..4).for_each(|group| table.export_group(KeyGroup(group), &mut bytes));
    (layout, bytes)
}

#[test]
fn corrupt_exports_are_errors_and_leave_the_table_alone() {
    let (layout, bytes) = exported();
    let import = |bytes: &[u8]| {
        let mut table = Table::new(layout.clone(), KeyGroupRange::all(3), 3);
        let result = table.import(bytes);
        let duplicate = |error: &TableError| error.to_string().contains("second time");
        assert!(!result.as_ref().is_err_and(|e| !duplicate(e)) || table.is_empty(), "{result:?}");
        result
    };
    assert_eq!(import(&bytes), Ok(()));
    for cut in 0..bytes.len() {
        let whole = cut == 0 || bytes[cut..].starts_with(b"WSLG");
        assert_eq!(import(&bytes[..cut]).is_ok(), whole, "cut at {cut}");
    }
    let mut seed = 1_u64;
    for round in 0..50_000 {
        let mut other = bytes.clone();
        for _ in 0..1 + round % 3 {
            seed = seed.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
            let at = (seed >> 33) as usize % other.len().max(1);
            other[at] = (seed >> 20) as u8;
            if seed >> 62 == 0 {
                other.drain(at..(at + 5).min(other.len()));
            }
        }
        // Some changes hit a value: those cannot be seen here, files have checksums. None may panic.
        let _ = import(&other).map_err(|error| assert!(!error.to_string().contains('\n')));
    }
    assert_eq!(
        import(&[bytes.clone(), bytes].concat()).map_err(|e| e.to_string().contains("second")),
        Err(true)
    );
}

#[test]
fn a_piece_with_more_rows_than_there_can_be_is_an_error() {
    let layout = words(good, 8);
    let mut table = Table::new(layout.clone(), KeyGroupRange::all(1), 1);
    for key in 0..2_000_u64 {
        table.upsert(good(&key.to_le_bytes()), &key.to_le_bytes());
    }
    table.flip(Scope::Base).unwrap();
    let (mut buffer, mut pieces) = (Vec::new(), Vec::new());
    let mut take = |piece: Piece<'_>| pieces.push(piece.bytes.to_vec());
    while table.walk_pieces(1_000, &mut buffer, &mut take) == Progress::More {}
    assert!(pieces.len() > 2);
    let import = |pieces: &[Vec<u8>]| {
        Table::new(layout.clone(), KeyGroupRange::all(1), 1).import(&pieces.concat())
    };
    assert_eq!(import(&pieces), Ok(()));
    // Behind magic, version, max parallelism, group, flags and the number of removed keys.
    pieces[1][28..36].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(import(&pieces), Err(TableError::Corrupt { .. })));
}

#[test]
fn an_export_of_something_else_is_named() {
    let (layout, bytes) = exported();
    let check = |layout: &Arc<RowLayout>, range: KeyGroupRange, max, expected: &str| {
        let error = Table::new(layout.clone(), range, max).import(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(
        &layout,
        KeyGroupRange::all(4),
        4,
        "max parallelism 3, the job has 4: set max parallelism to 3",
    );
    check(
        &layout,
        KeyGroupRange { first: 1, end: 3 },
        3,
        "key group 0 is outside of this subtask's 1..3",
    );
    let other = RowLayout::build(KeyLayout::Bytes, good).cell("a", 4).finish().unwrap();
    check(
        &other,
        KeyGroupRange::all(3),
        3,
        "a: 3, b: block, c: block; this one has keys of any length; a: 4",
    );
}

#[test]
fn what_is_imported_lies_as_densely_as_what_has_grown() {
    for (key_groups, keys) in [(1, 1_u64), (4, 50), (4, 20_000), (3, 400_000), (128, 300_000)] {
        let layout = words(good, 8);
        let range = KeyGroupRange::all(key_groups);
        let mut grown = Table::new(layout.clone(), range, key_groups);
        for key in 0..keys {
            let row = &mut grown.upsert(good(&key.to_le_bytes()), &key.to_le_bytes());
            row.value_mut().copy_from_slice(&(key * 3).to_le_bytes());
        }
        let mut imported = Table::new(layout, range, key_groups);
        for group in range.iter() {
            let mut bytes = Vec::new();
            grown.export_group(group, &mut bytes);
            imported.import(&bytes).unwrap();
        }
        assert_eq!(imported.len(), grown.len());
        for key in 0..keys {
            let row = imported.find(good(&key.to_le_bytes()), &key.to_le_bytes()).unwrap();
            assert_eq!(row.value(), (key * 3).to_le_bytes());
        }
        // Room that was made in vain would show: at worst segments are twice as many.
        let (ours, theirs) = (imported.bytes_used(), grown.bytes_used());
        assert!(ours <= theirs * 2 + 4_000, "{keys} keys: {ours} bytes, and {theirs} when grown");
        // It goes on as any other table.
        for key in keys..keys * 2 {
            imported.upsert(good(&key.to_le_bytes()), &key.to_le_bytes());
        }
        assert_eq!(imported.iter().count() as u64, keys * 2);
    }
}

#[test]
fn a_table_like_another_takes_as_many_rows_without_growing() {
    let grown_to = |table: &mut Table, keys: std::ops::Range<u64>| {
        for key in keys {
            table.upsert(good(&key.to_le_bytes()), &key.to_le_bytes());
        }
    };
    for (key_groups, keys) in [(1, 1_u64), (4, 20_000), (3, 400_000), (128, 300_000)] {
        let range = KeyGroupRange::all(key_groups);
        let mut before = Table::new(words(good, 8), range, key_groups);
        grown_to(&mut before, 0..keys);
        let mut after = Table::new(words(good, 8), range, key_groups);
        after.reserve_like(&before);
        let empty = after.bytes_used();
        assert!(after.is_empty() && after.iter().next().is_none());
        assert!(empty <= before.bytes_used() * 2, "{keys} keys: {empty} bytes for none");
        // Other keys, and as many: some segments have more of them than their counterparts.
        grown_to(&mut after, keys..keys * 2);
        let full = after.bytes_used();
        assert!(full <= empty + empty / 4 + 1_000, "{keys} keys: {empty} bytes grew to {full}");
        assert_eq!(after.iter().count() as u64, keys);
        // Rows that are there are left where they are.
        after.reserve_like(&before);
        assert_eq!((after.bytes_used(), after.iter().count() as u64), (full, keys));
    }
}
