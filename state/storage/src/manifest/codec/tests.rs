//! The bytes of a manifest: pinned, read again, and damaged.

use super::*;

fn manifest() -> Manifest {
    let part = |name: &str, kind, offset| PartEntry {
        operator: if name == "all" { "a" } else { "counts" }.into(),
        name: name.into(),
        kind,
        offset,
        stored_len: 20,
        len: 12,
    };
    let parts = vec![
        part("counts", PartKind::Keyed(KeyGroup(3)), 12),
        part("buffer", PartKind::List, 32),
        part("counts", PartKind::Keyed(KeyGroup(4)), 52),
        part("rules", PartKind::Broadcast, 72),
        part("all", PartKind::Union, 92),
        part("split", PartKind::Split, 112),
        part("file", PartKind::Committable, 132),
    ];
    let file = FileEntry { path: "chk-7/0-0.data".into(), len: 152, hash: Hash([9; 32]), parts };
    let subtask = |finished, files| SubtaskState { finished, files };
    let vertex = VertexState {
        uid: "counts".into(),
        name: "Zähler".into(),
        operators: vec!["a".into(), "counts".into()],
        parallelism: 2,
        max_parallelism: 128,
        enumerator: Some(vec![1, 2, 3]),
        subtasks: vec![subtask(false, vec![file]), subtask(true, Vec::new())],
    };
    Manifest {
        job: JobId(5),
        job_name: "trending".into(),
        checkpoint: 7,
        kind: Kind::Checkpoint,
        triggered: Timestamp::from_millis(-1),
        completed: Timestamp::from_millis(2),
        ending: Ending::AllRead,
        vertices: vec![vertex],
    }
}

fn encoded(manifest: &Manifest) -> Vec<u8> {
    manifest.encode().expect("it fits")
}

#[test]
fn what_is_read_is_what_was_written() {
    let manifest = manifest();
    assert_eq!(Manifest::decode("m", &encoded(&manifest)), Ok(manifest.clone()));
    let subtask = &manifest.vertices[0].subtasks[0];
    assert_eq!(SubtaskState::decode(&subtask.encode().expect("it fits")).as_ref(), Ok(subtask));
    let empty = Manifest { vertices: Vec::new(), ending: Ending::Drained, ..manifest };
    assert_eq!(Manifest::decode("m", &encoded(&empty)), Ok(empty));
}

#[test]
fn the_bytes_are_pinned() {
    // Part of the format: a change here needs a new version; once one is released, also a reader of the old one.
    let bytes = encoded(&manifest());
    let hash = Hash::of(&bytes).to_string();
    assert_eq!((bytes.len(), &hash[..16]), (629, "0ab401381e097c6f"));
}

/// Sums and hash made right again: what a decoder meets that was fed by something else.
fn seal(bytes: &mut [u8]) {
    let end = bytes.len() - HASH_BYTES;
    let mut at = HEADER_BYTES;
    while at + SECTION_HEADER_BYTES <= end {
        let len = u32::from_le_bytes(bytes[at + 1..at + 5].try_into().expect("four")) as usize;
        let sum_at = at + SECTION_HEADER_BYTES + len;
        if sum_at + 4 > end {
            break;
        }
        let sum = section_sum(at, &bytes[at..sum_at]);
        bytes[sum_at..sum_at + 4].copy_from_slice(&sum.to_le_bytes());
        at = sum_at + 4;
    }
    let sum = crc32c(0, &bytes[..HEADER_BYTES - 4]);
    bytes[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    let hash = Hash::of(&bytes[..end]);
    bytes[end..].copy_from_slice(&hash.0);
}

#[test]
fn bytes_with_right_sums_that_are_no_manifest_give_an_error() {
    let good = encoded(&manifest());
    let mut refused = 0;
    for at in 8..good.len() - HASH_BYTES {
        for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            seal(&mut bytes);
            // Some changes make another manifest, which then reads as what it is.
            match Manifest::decode("m", &bytes) {
                Ok(other) => assert_eq!(Manifest::decode("m", &encoded(&other)), Ok(other)),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    let mut huge = Writer::default();
    huge.u8(0);
    huge.u32(u32::MAX);
    let error = SubtaskState::decode(&huge.bytes).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "acknowledgement is damaged at byte 1: subtask: files: is 4294967295, but only 0 bytes are left"
    );
}

#[test]
fn a_header_does_not_count_more_sections_than_there_is_room_for() {
    let mut bytes = encoded(&manifest());
    bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    seal(&mut bytes);
    let error = Manifest::decode("m", &bytes).expect_err("too many").to_string();
    assert_eq!(
        error,
        "m is damaged at byte 12: header: sections: is 4294967295, but the file has room for 63"
    );
}

#[test]
fn what_has_no_room_is_named_and_nothing_is_written() {
    let mut manifest = manifest();
    // All but the list of files; all; what the enumerator keeps has grown.
    let said = |manifest: &Manifest, max| manifest.encode_within(max).map_err(|e| e.to_string());
    assert_eq!(
        said(&manifest, 100),
        Err("the list of parts of chk-7/0-0.data is 391 long, and a checkpoint has room for 100: \
             give the job less state, or more subtasks to divide it among"
            .to_owned())
    );
    assert_eq!(said(&manifest, 400), Ok(encoded(&manifest)));
    manifest.vertices[0].enumerator = Some(vec![7; 401]);
    let error = said(&manifest, 400).expect_err("one byte too many");
    let what = "the enumerator of vertex `Zähler` is 401 long, and a checkpoint has room for 400: ";
    assert!(error.starts_with(what), "{error}");
    manifest.job_name = "n".repeat(400);
    assert!(said(&manifest, 400).expect_err("its name").starts_with("job `nnn"));
}

#[test]
fn a_count_that_has_no_room_is_kept_as_such() {
    let mut writer = Writer::default();
    writer.count(u32::MAX as usize);
    assert_eq!((writer.bytes.len(), writer.too_large), (4, None));
    writer.count(u32::MAX as usize + 1);
    writer.count(usize::MAX);
    assert_eq!(writer.too_large, Some(1 << 32), "the first of them");
}
