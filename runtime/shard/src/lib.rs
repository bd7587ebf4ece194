//! One core: the seam to the machine, real and simulated.
