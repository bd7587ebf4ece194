//! What operators do, as tables: a script of records and watermarks on one side, what comes out on the other.
//! `harness` says how a script reads and in how many ways it is run.

mod all_windows;
mod async_model;
mod async_wait;
mod broadcast;
mod co_process;
mod frames;
mod harness;
mod interval_join;
mod joins;
mod keyed;
mod keyed_process;
mod large;
mod links;
mod operator_state;
mod parking;
mod pre_aggregate;
mod probe;
mod properties;
mod random;
mod rolling;
mod session;
mod session_model;
mod sliding;
mod split_watermarks;
mod states;
mod states_model;
mod states_restore;
mod states_ttl;
mod temporal_join;
mod tumbling;
mod two_inputs;
mod two_stages;
mod watermarks;
mod window_model;
mod words;
