//! The plan as text for people, as JSON for programs, and as the text under the fingerprint.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::{ExecutionGraph, JobEdge, JobGraph, JobVertex};

/// The plan, to be read: a paragraph per chain, with what enters it.
pub(crate) fn text<F>(job: &JobGraph<F>) -> String {
    let expanded = ExecutionGraph::expand(job);
    let mut text = format!(
        "job `{}`: {}, {}, {}, {}{}\nfingerprint {}\n",
        job.name,
        count(job.vertices.len(), "chain"),
        count(expanded.subtasks().len(), "task"),
        count(expanded.slot_count() as usize, "slot"),
        count(expanded.region_count() as usize, "region"),
        if job.is_batch { ", batch" } else { "" },
        job.fingerprint(),
    );
    for (group, slots) in job.slots_by_group() {
        if let Some(profile) = job.resources.get(group) {
            let slots = count(slots.len(), "slot");
            let _ = writeln!(text, "slot sharing group `{group}`: {slots} of {profile}");
        }
    }
    for vertex in &job.vertices {
        write_vertex(&mut text, job, vertex).expect("writing to a string cannot fail");
    }
    text
}

fn write_vertex<F>(
    text: &mut String,
    job: &JobGraph<F>,
    vertex: &JobVertex<F>,
) -> std::fmt::Result {
    writeln!(text, "\n[{}] {}", vertex.id, vertex.name())?;
    for (_, edge) in job.inputs(vertex.id) {
        write!(text, "    from [{}] {}", edge.source, edge.partitioning.name())?;
        if let Some(side) = &edge.side_output {
            write!(text, ", side output `{side}`")?;
        }
        writeln!(text, ": {}{}", edge.record, columns(edge))?;
    }
    let (parallelism, max) = (vertex.parallelism, vertex.max_parallelism);
    write!(text, "    parallelism {parallelism} (at most {max})")?;
    if vertex.slot_sharing_group != "default" {
        write!(text, ", slot sharing group `{}`", vertex.slot_sharing_group)?;
    }
    writeln!(text)?;
    for operator in &vertex.operators {
        let generated = if operator.is_uid_generated { " (generated)" } else { "" };
        let state = if operator.is_stateful { ", keeps state" } else { "" };
        writeln!(text, "    {}: uid {}{generated}{state}", operator.name, operator.uid)?;
    }
    for (key, value) in &vertex.parameters {
        writeln!(text, "    {key} = {value}")?;
    }
    Ok(())
}

fn columns(edge: &JobEdge) -> &'static str {
    match (edge.has_time, edge.has_hash) {
        (true, true) => " with time and hash",
        (true, false) => " with time",
        (false, true) => " with hash",
        (false, false) => "",
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The plan for programs. Keys are written in alphabetical order, so it does not matter how the map orders them.
pub(crate) fn json<F>(job: &JobGraph<F>) -> String {
    let expanded = ExecutionGraph::expand(job);
    let nodes: Vec<_> = job.vertices.iter().map(|vertex| node(job, vertex)).collect();
    let plan = json!({
        "fingerprint": job.fingerprint().to_string(),
        "name": job.name,
        "nodes": nodes,
        "regions": expanded.region_count(),
        "slot_sharing_groups": groups(job),
        "slots": expanded.slot_count(),
        "tasks": expanded.subtasks().len(),
        "type": if job.is_batch { "BATCH" } else { "STREAMING" },
    });
    format!("{plan:#}")
}

/// The groups, with what their slots need where the program says it.
fn groups<F>(job: &JobGraph<F>) -> Vec<Value> {
    let group = |(name, slots): (&str, std::ops::Range<u32>)| {
        let profile = job.resources.get(name).map(|profile| {
            json!({
                "cpu_cores": profile.cpu_cores,
                "managed_memory_bytes": profile.managed.bytes(),
                "task_heap_memory_bytes": profile.task_heap.bytes(),
                "task_off_heap_memory_bytes": profile.task_off_heap.bytes(),
            })
        });
        json!({ "name": name, "resources_per_slot": profile, "slots": slots.len() })
    };
    job.slots_by_group().into_iter().map(group).collect()
}

fn node<F>(job: &JobGraph<F>, vertex: &JobVertex<F>) -> Value {
    let input = |edge: &JobEdge| {
        json!({
            "exchange": "pipelined_bounded",
            "hash_column": edge.has_hash,
            "id": edge.source.0,
            "num": edge.input,
            "record": edge.record,
            "schema": format!("{:016x}", edge.schema_hash),
            "ship_strategy": edge.partitioning.name(),
            "side_output": edge.side_output,
            "time_column": edge.has_time,
        })
    };
    let inputs: Vec<_> = job.inputs(vertex.id).into_iter().map(|(_, edge)| input(edge)).collect();
    let operators: Vec<_> = vertex
        .operators
        .iter()
        .map(|operator| {
            json!({
                "name": operator.name,
                "stateful": operator.is_stateful,
                "uid": operator.uid,
                "uid_generated": operator.is_uid_generated,
            })
        })
        .collect();
    let mut parameters = vertex.parameters.clone();
    parameters.sort();
    let parameters: Map<String, Value> =
        parameters.into_iter().map(|(key, value)| (key, Value::String(value))).collect();
    json!({
        "description": vertex.name(),
        "id": vertex.id.0,
        "inputs": inputs,
        "max_parallelism": vertex.max_parallelism,
        "operators": operators,
        "parallelism": vertex.parallelism,
        "parameters": parameters,
        "slot_sharing_group": vertex.slot_sharing_group,
    })
}

/// What two processes must agree on: operators, uids, edges, records, parameters. Not the parallelism, which a
/// restart may change.
pub(crate) fn identity<F>(job: &JobGraph<F>) -> String {
    let mode = if job.is_batch { " batch" } else { "" };
    let mut text = format!("job {:?}{mode}\n", job.name);
    for vertex in &job.vertices {
        let _ = writeln!(text, "vertex {}", vertex.id);
        for operator in &vertex.operators {
            let state = if operator.is_stateful { " stateful" } else { "" };
            let _ = writeln!(text, "  operator {:?} uid {:?}{state}", operator.name, operator.uid);
        }
        for (key, value) in &vertex.parameters {
            let _ = writeln!(text, "  parameter {key:?} {value:?}");
        }
    }
    for edge in &job.edges {
        let side = edge.side_output.as_deref().unwrap_or("");
        let _ = writeln!(
            text,
            "edge {}.{} {} {}.{} side {side:?} record {:?} schema {:016x}",
            edge.source,
            edge.output,
            edge.said,
            edge.target,
            edge.input,
            edge.record,
            edge.schema_hash
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use wiesel_core::VertexId;

    use crate::{
        JobGraph, SlotSharingGroup,
        testing::{DEFAULTS, TEXTBOOK, graph},
    };

    #[test]
    fn the_textbook_plan() {
        let mut graph = graph(TEXTBOOK);
        graph.vertex_mut(VertexId(1)).parameters.push(("lateness".into(), "2 s".into()));
        let job = JobGraph::translate("clicks", &graph, &DEFAULTS).unwrap();
        assert_eq!(
            job.explain(),
            "\
job `clicks`: 3 chains, 5 tasks, 2 slots, 1 region
fingerprint 099f220e785f2771cdb9fc25fa7116ac

[0] Source: clicks -> Map -> Filter
    parallelism 2 (at most 128)
    Source: clicks: uid clicks
    Map: uid map-01c8114a (generated)
    Filter: uid filter-73767f01 (generated)

[1] Window(10 s)
    from [0] HASH: Click with time and hash
    parallelism 2 (at most 128)
    Window(10 s): uid counts, keeps state
    lateness = 2 s

[2] Sink: print
    from [1] REBALANCE: Click
    parallelism 1 (at most 128)
    Sink: print: uid sink-print-9b45049c (generated)
"
        );
        assert_eq!(
            job.identity(),
            "\
job \"clicks\"
vertex 0
  operator \"Source: clicks\" uid \"clicks\"
  operator \"Map\" uid \"map-01c8114a\"
  operator \"Filter\" uid \"filter-73767f01\"
vertex 1
  operator \"Window(10 s)\" uid \"counts\" stateful
  parameter \"lateness\" \"2 s\"
vertex 2
  operator \"Sink: print\" uid \"sink-print-9b45049c\"
edge 0.0 HASH 1.0 side \"\" record \"Click\" schema 000000000000c11c
edge 1.0 AUTO 2.0 side \"\" record \"Click\" schema 000000000000c11c
"
        );
    }

    #[test]
    fn a_side_output_and_a_group_are_told_in_both_forms() {
        let mut graph = graph("a#a / source p1; b#b / sink p1 group=io from0:BROADCAST");
        graph.edges[0].side_output = Some("late".into());
        let io = SlotSharingGroup::new("io").cpu_cores(0.5).task_heap_memory("64 mb");
        graph.register_slot_sharing_group(io.managed_memory("1 gb"));
        let job = JobGraph::translate("j", &graph, &DEFAULTS).unwrap();
        assert_eq!(
            job.explain(),
            "\
job `j`: 2 chains, 2 tasks, 2 slots, 1 region
fingerprint ffb1a659d84f42a3e6fd3f4013affc99
slot sharing group `io`: 1 slot of 0.5 cores, task heap 64 mb, managed 1 gb

[0] a
    parallelism 1 (at most 128)
    a: uid a

[1] b
    from [0] BROADCAST, side output `late`: Click with time
    parallelism 1 (at most 128), slot sharing group `io`
    b: uid b
"
        );
        assert_eq!(
            job.explain_json(),
            r#"{
  "fingerprint": "ffb1a659d84f42a3e6fd3f4013affc99",
  "name": "j",
  "nodes": [
    {
      "description": "a",
      "id": 0,
      "inputs": [],
      "max_parallelism": 128,
      "operators": [
        {
          "name": "a",
          "stateful": false,
          "uid": "a",
          "uid_generated": false
        }
      ],
      "parallelism": 1,
      "parameters": {},
      "slot_sharing_group": "default"
    },
    {
      "description": "b",
      "id": 1,
      "inputs": [
        {
          "exchange": "pipelined_bounded",
          "hash_column": false,
          "id": 0,
          "num": 0,
          "record": "Click",
          "schema": "000000000000c11c",
          "ship_strategy": "BROADCAST",
          "side_output": "late",
          "time_column": true
        }
      ],
      "max_parallelism": 128,
      "operators": [
        {
          "name": "b",
          "stateful": false,
          "uid": "b",
          "uid_generated": false
        }
      ],
      "parallelism": 1,
      "parameters": {},
      "slot_sharing_group": "io"
    }
  ],
  "regions": 1,
  "slot_sharing_groups": [
    {
      "name": "default",
      "resources_per_slot": null,
      "slots": 1
    },
    {
      "name": "io",
      "resources_per_slot": {
        "cpu_cores": 0.5,
        "managed_memory_bytes": 1073741824,
        "task_heap_memory_bytes": 67108864,
        "task_off_heap_memory_bytes": 0
      },
      "slots": 1
    }
  ],
  "slots": 2,
  "tasks": 2,
  "type": "STREAMING"
}"#
        );
    }
}
