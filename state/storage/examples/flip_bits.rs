//! Flips every bit of a checkpoint once, and asks of each whether it is found: `flip_bits [BYTES]`, by default 1 MiB of
//! state (8.4 million flips).
//!
//! What checks a data file is asked of the block that the bit is in, and for one bit in a thousand of the whole file; a
//! manifest is always read whole. The last line sums up; the exit code is 1 if one bit was not found.

use std::{collections::BTreeSet, process::ExitCode};

use wiesel_core::{JobId, KeyGroup, Timestamp};
use wiesel_storage::{
    DataFileWriter, Ending, FileEntry, Kind, Manifest, PartKind, StorageError, SubtaskState,
    VertexState, read_part, verify_file,
};

/// Whole files are hashed for one bit in so many.
const WHOLE_EVERY: u64 = 1_000;

fn main() -> ExitCode {
    let bytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1 << 20);
    let (flips, missed, fields) = run(bytes);
    println!("{flips} bits flipped, {missed} not found, {fields} fields named");
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Bits flipped, those not found, and how many fields were named.
fn run(state_bytes: usize) -> (u64, u64, usize) {
    let (files, manifest) = checkpoint(state_bytes);
    let (mut flips, mut missed, mut fields) = (0, 0, BTreeSet::new());
    let mut see = |found: Option<String>| {
        flips += 1;
        match found {
            Some(field) => drop(fields.insert(field)),
            None => missed += 1,
        }
    };
    for (bytes, entry) in files {
        let mut bytes = bytes;
        for bit in 0..bytes.len() as u64 * 8 {
            flip(&mut bytes, bit);
            let at = bit / 8;
            let holds = |part: &&wiesel_storage::PartEntry| {
                (part.offset..part.offset + part.stored_len).contains(&at)
            };
            let found = match entry.parts.iter().find(holds) {
                Some(part) if bit % WHOLE_EVERY != 0 => {
                    let stored = &bytes[part.offset as usize..][..part.stored_len as usize];
                    read_part(&entry.path, part, stored).err().map(|damage| damage.field)
                }
                _ => match verify_file(&entry, |offset, len| Ok(slice(&bytes, offset, len))) {
                    Err(StorageError::Damaged(damage)) => Some(damage.field),
                    _ => None,
                },
            };
            see(found);
            flip(&mut bytes, bit);
        }
    }
    let mut bytes = manifest.encode().expect("a small one");
    for bit in 0..bytes.len() as u64 * 8 {
        flip(&mut bytes, bit);
        see(Manifest::decode("_metadata", &bytes).err().map(|damage| damage.field));
        flip(&mut bytes, bit);
    }
    (flips, missed, fields.len())
}

fn flip(bytes: &mut [u8], bit: u64) {
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
}

fn slice(bytes: &[u8], offset: u64, len: u64) -> Vec<u8> {
    let place = |at: u64| (at.min(bytes.len() as u64)) as usize;
    bytes[place(offset)..place(offset.saturating_add(len))].to_vec()
}

/// Two subtasks with 64 key groups each, of two states.
fn checkpoint(state_bytes: usize) -> (Vec<(Vec<u8>, FileEntry)>, Manifest) {
    let mut seed = 1_u64;
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 56) as u8
    };
    let part_bytes = state_bytes / 256;
    let mut files = Vec::new();
    for subtask in 0..2_u16 {
        let mut writer = DataFileWriter::new();
        for name in ["counts", "timers"] {
            for group in 0..64 {
                let bytes: Vec<u8> = (0..part_bytes).map(|_| random()).collect();
                writer.part(
                    "counts",
                    name,
                    PartKind::Keyed(KeyGroup(subtask * 64 + group)),
                    &bytes,
                );
            }
        }
        files.push(writer.finish(&format!("chk-1/0-{subtask}.data")));
    }
    let subtasks =
        files.iter().map(|(_, entry)| SubtaskState { finished: false, files: vec![entry.clone()] });
    let vertex = VertexState {
        uid: "counts".to_owned(),
        name: "Count".to_owned(),
        operators: vec!["counts".to_owned()],
        parallelism: 2,
        max_parallelism: 128,
        enumerator: None,
        subtasks: subtasks.collect(),
    };
    let manifest = Manifest {
        job: JobId(1),
        job_name: "flips".to_owned(),
        checkpoint: 1,
        kind: Kind::Checkpoint,
        triggered: Timestamp::from_millis(0),
        completed: Timestamp::from_millis(1),
        ending: Ending::Open,
        vertices: vec![vertex],
    };
    (files, manifest)
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_flipped_bit_of_a_small_checkpoint_is_missed() {
        let (flips, missed, fields) = super::run(8 << 10);
        assert!(flips > 100_000 && fields > 100, "{flips} flips, {fields} fields");
        assert_eq!(missed, 0);
    }
}
