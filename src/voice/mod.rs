//! The voice loop: everything from audio in to audio out.

pub mod recognize;
pub mod resample;
pub mod sentences;
pub mod synthesize;
