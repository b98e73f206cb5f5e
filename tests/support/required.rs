//! What a test needs and a machine may lack: the one place where a test leaves itself out.
//!
//! Include with `#[path = "../support/required.rs"] mod required;`.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::Write as _;

/// Set and neither empty nor `0`, it says that nothing may be left out: `.ci/run` sets it.
const EVERYTHING: &str = "WHITTLE_TEST_ALL";

/// What the test needs, or nothing after the reason was told. Where everything must run the reason fails the test.
pub(crate) fn required<T>(needed: Result<T, String>) -> Option<T> {
    left_out(
        needed,
        Demand::of(std::env::var(EVERYTHING).ok().as_deref()),
    )
}

/// What is asked of this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    WhatIsPossible,
    Everything,
}

impl Demand {
    /// From what the variable holds.
    pub(crate) fn of(variable: Option<&str>) -> Self {
        match variable {
            None | Some("" | "0") => Self::WhatIsPossible,
            Some(_) => Self::Everything,
        }
    }
}

/// [`required`] under a demand.
pub(crate) fn left_out<T>(needed: Result<T, String>, demand: Demand) -> Option<T> {
    let why = match needed {
        Ok(thing) => return Some(thing),
        Err(why) => why,
    };
    match demand {
        Demand::Everything => panic!("{EVERYTHING} is set, and this test cannot run: {why}"),
        Demand::WhatIsPossible => {
            // Not `eprintln!`: what that says in a test that passes is never shown.
            writeln!(std::io::stderr(), "skipped: {why}").expect("an open standard error");
            None
        }
    }
}
