//! State descriptors, row layout and the segmented table.
