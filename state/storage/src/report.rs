//! A manifest as text, and what is different between two.

use std::fmt::Write;

use crate::{FileEntry, Kind, Manifest, SubtaskState, VertexState};

/// What is in a checkpoint, for people: a line for the job, each vertex, subtask and file.
pub fn inspect(manifest: &Manifest) -> String {
    let mut text = String::new();
    let kind = match manifest.kind {
        Kind::Checkpoint => "checkpoint",
        Kind::Savepoint => "savepoint",
    };
    let end = if manifest.is_final { ", after all input" } else { "" };
    line(&mut text, 0, format!("{kind} {} of `{}`{end}", manifest.checkpoint, manifest.job_name));
    let took = manifest.completed.as_millis().saturating_sub(manifest.triggered.as_millis());
    line(&mut text, 1, format!("job {}", manifest.job));
    line(&mut text, 1, format!("triggered {} ms since 1970, took {took} ms", manifest.triggered));
    line(&mut text, 1, format!("{} bytes in files", manifest.state_bytes()));
    for vertex in &manifest.vertices {
        let VertexState { uid, name, parallelism, max_parallelism, .. } = vertex;
        let what = format!("vertex `{uid}` ({name}), {parallelism} of {max_parallelism} subtasks");
        line(&mut text, 0, what);
        line(&mut text, 1, format!("operators {}", vertex.operators.join(", ")));
        if let Some(enumerator) = &vertex.enumerator {
            line(&mut text, 1, format!("enumerator {} bytes", enumerator.len()));
        }
        for (index, subtask) in vertex.subtasks.iter().enumerate() {
            let SubtaskState { finished, files } = subtask;
            let state = if *finished { ": finished" } else { "" };
            line(&mut text, 1, format!("subtask {index}{state}"));
            files.iter().for_each(|file| line(&mut text, 2, describe(file)));
        }
    }
    text
}

/// `chk-7/1-0.data: 90 bytes, 3 parts of counts, BLAKE3 0123456789abcdef`.
fn describe(file: &FileEntry) -> String {
    let mut names: Vec<&str> = file.parts.iter().map(|part| &*part.name).collect();
    names.sort_unstable();
    names.dedup();
    let (len, parts, names) = (file.len, file.parts.len(), names.join(", "));
    let hash = &file.hash.to_string()[..16];
    format!("{}: {len} bytes, {parts} parts of {names}, BLAKE3 {hash}", file.path)
}

/// What is different in `newer`: a line each, without any if nothing is. Files count as equal when their bytes are.
pub fn diff(older: &Manifest, newer: &Manifest) -> String {
    let mut text = String::new();
    let mut changed = |what: &str, before: String, after: String| {
        if before != after {
            line(&mut text, 0, format!("{what}: {before} -> {after}"));
        }
    };
    changed("job", older.job.to_string(), newer.job.to_string());
    changed("checkpoint", older.checkpoint.to_string(), newer.checkpoint.to_string());
    changed("bytes", older.state_bytes().to_string(), newer.state_bytes().to_string());
    for vertex in &newer.vertices {
        let uid = &vertex.uid;
        let Some(before) = older.vertices.iter().find(|other| other.uid == *uid) else {
            line(&mut text, 0, format!("vertex `{uid}`: new"));
            continue;
        };
        diff_vertex(&mut text, before, vertex);
    }
    let is_gone =
        |vertex: &&VertexState| newer.vertices.iter().all(|other| other.uid != vertex.uid);
    for vertex in older.vertices.iter().filter(is_gone) {
        line(&mut text, 0, format!("vertex `{}`: gone", vertex.uid));
    }
    text
}

fn diff_vertex(text: &mut String, before: &VertexState, after: &VertexState) {
    let uid = &after.uid;
    let (was, is) = (before.parallelism, after.parallelism);
    if was != is {
        line(text, 0, format!("vertex `{uid}`: parallelism {was} -> {is}"));
    }
    let (was, is) = (before.max_parallelism, after.max_parallelism);
    if was != is {
        line(text, 0, format!("vertex `{uid}`: max parallelism {was} -> {is}"));
    }
    let (was, is) = (before.operators.join(", "), after.operators.join(", "));
    if was != is {
        line(text, 0, format!("vertex `{uid}`: operators {was} -> {is}"));
    }
    if before.enumerator != after.enumerator {
        line(text, 0, format!("vertex `{uid}`: another state of the enumerator"));
    }
    for (index, subtask) in after.subtasks.iter().enumerate() {
        let Some(other) = before.subtasks.get(index) else { continue };
        if other.finished != subtask.finished {
            line(
                text,
                0,
                format!(
                    "vertex `{uid}`, subtask {index}: finished {} -> {}",
                    other.finished, subtask.finished
                ),
            );
        }
        let had = |file: &FileEntry| other.files.iter().any(|known| known.hash == file.hash);
        for file in subtask.files.iter().filter(|file| !had(file)) {
            line(text, 0, format!("vertex `{uid}`, subtask {index}: + {}", describe(file)));
        }
        let has = |file: &FileEntry| subtask.files.iter().any(|known| known.hash == file.hash);
        for file in other.files.iter().filter(|file| !has(file)) {
            line(text, 0, format!("vertex `{uid}`, subtask {index}: - {}", describe(file)));
        }
    }
}

fn line(text: &mut String, depth: usize, what: String) {
    let _ = writeln!(text, "{:1$}{what}", "", depth * 2);
}
