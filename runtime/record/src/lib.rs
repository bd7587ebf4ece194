//! Records and views: what a job's data is.
