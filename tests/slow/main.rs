//! Tests with real models and devices: slower, and each says what it needs.

mod model;
