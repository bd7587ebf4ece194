//! The JobMaster: deployment, task states, enumerators. Pure.
