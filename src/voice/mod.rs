//! The voice loop: everything from audio in to audio out.

pub mod recognize;
