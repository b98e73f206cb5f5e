//! Speaks sentences with the project's own voice and writes down what its recognizer makes of them.
//!
//!     hear_back VOICE RECOGNIZER < sentences > heard
//!
//! VOICE and RECOGNIZER are folders of `whittle fetch` (hibari, whisper-tiny.en). One sentence a
//! line; each line out is `heard<TAB>said`. `training/confusions.py` counts the differences.

use std::io::{BufRead, Write};
use std::path::Path;
use whittle::job::Job;
use whittle::speech::recognize::{self, Recognizer};
use whittle::speech::resample::Resampler;
use whittle::speech::synthesize::{self, Synthesizer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [voice, recognizer] = arguments.as_slice() else {
        return Err("usage: hear_back VOICE RECOGNIZER < sentences > heard".into());
    };
    let job = Job::silent();
    let synthesizer = Synthesizer::load(Path::new(voice), &job)?;
    let recognizer = Recognizer::load(Path::new(recognizer), &job)?;
    let from_hz = u32::try_from(synthesize::SAMPLE_RATE_HZ)?;
    let to_hz = u32::try_from(recognize::SAMPLE_RATE_HZ)?;
    let mut out = std::io::stdout().lock();
    for said in std::io::stdin().lock().lines() {
        let said = said?;
        let spoken = synthesizer.synthesize(&said)?;
        let audio_16k = Resampler::convert(&spoken, from_hz, to_hz)?;
        let heard = recognizer.recognize(&audio_16k, &job)?.text;
        writeln!(out, "{}\t{said}", heard.trim())?;
        out.flush()?;
    }
    Ok(())
}
