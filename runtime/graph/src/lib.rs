//! From what the user said to what runs where. Pure.
