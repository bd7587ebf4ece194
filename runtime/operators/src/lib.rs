//! What happens to records: operators and chains. Pure.
