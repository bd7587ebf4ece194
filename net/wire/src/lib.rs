//! Frames: the unit of everything that travels between tasks, and the pools that they come from.
//!
//! ```text
//!   FramePool ──take──▶ FrameWriter ──append, append, close──▶ Frame ──FrameView──▶ records
//!       ▲                                                        │
//!       └────────────────────── give ◀───────────────────────────┘
//! ```
//!
//! `net/README.md` has the layout byte by byte.

mod crc32c;
mod frame;
mod layout;
mod pool;
mod prefetch;
mod untrusted;
mod view;
mod writer;

pub use crc32c::crc32c;
pub use frame::Frame;
pub use layout::{
    BLOCK_RECORDS, FRAME_BYTES, FrameShape, HEADER_BYTES, JUMBO_BYTES_LIMIT, JUMBO_BYTES_MIN,
    RECORD_BYTES_MAX_DEFAULT, RECORD_BYTES_MAX_OPTION,
};
pub use pool::{FramePool, LocalPool, PoolError};
pub use untrusted::{WireError, from_wire, to_wire, wire_bytes};
pub use view::{FrameIter, FrameView};
pub use writer::FrameWriter;
