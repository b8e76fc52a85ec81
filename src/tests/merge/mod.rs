//! Merged flows through the engine: a datapath with the cache does what one without it does, and
//! whatever changes revokes.

mod equivalence;
mod life;
mod worlds;
