//! `whittle talk`: a spoken question in, a spoken answer out.

use super::files::Files;
use super::sampling::SamplingArgs;
use super::{Output, kv_bits};
use crate::catalog::{Cache, Catalog, Entry};
use crate::job::Job;
use crate::packed::intent::AnswerParts;
use crate::packed::{PackedModel, WeightSource};
use crate::speech::recognize::Recognizer;
use crate::speech::synthesize::Synthesizer;
use crate::speech::{RECOGNIZER, SYNTHESIZER, missing_models};
use crate::voice::audio::LiveAudio;
use crate::voice::live::{LiveEvent, LiveVoice};
use crate::voice::wav::{self, Recording};
use crate::voice::{BargeIn, ModelAssistant, Timings, Turn, TurnEvent, talk};
use crate::workers::Processor;
use anyhow::bail;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rate of the synthesizer's audio.
pub(super) const SPOKEN_HZ: u32 = 24_000;

/// Answer a spoken question with a packed model, from a WAV file or live
#[derive(Debug, clap::Args)]
pub(super) struct TalkArgs {
    /// Packed file
    file: PathBuf,
    /// Recording of the question
    #[arg(
        long = "in",
        value_name = "Q.wav",
        required_unless_present = "live",
        requires = "answer"
    )]
    question: Option<PathBuf>,
    /// Recording of the answer to write
    #[arg(long = "out", value_name = "A.wav")]
    answer: Option<PathBuf>,
    /// Talk through microphone and loudspeaker until Ctrl+C
    #[arg(long, conflicts_with_all = ["question", "answer"])]
    live: bool,
    /// Stop the model when somebody speaks over it; with headphones only
    #[arg(long, requires = "live")]
    barge_in: bool,
    /// System text; if not given one that asks for short answers, or the model's own for commands
    #[arg(long, value_name = "S")]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Threads that compute; if not given all cores, from four on all but one
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Bits of an element of the cache of keys and values, 16, 8 or 4; if not given
    /// those that the file was made for
    #[arg(long, value_name = "B", value_parser = kv_bits)]
    kv_bits: Option<CachePrecision>,
}

/// What `whittle talk` reports; times in milliseconds from the end of speech.
#[derive(Debug, Serialize)]
pub(super) struct TalkReport {
    pub(super) heard: String,
    pub(super) said: String,
    #[serde(flatten)]
    pub(super) timings: Timings,
    pub(super) audio_seconds: f64,
}

/// Recognizer and synthesizer of the catalog.
pub(super) fn open_voice(output: &Output) -> anyhow::Result<(Recognizer, Synthesizer)> {
    let cache = Cache::from_environment()?;
    let missing = missing_models(Some(&cache));
    if !missing.is_empty() {
        bail!(needs(&missing));
    }
    let catalog = Catalog::builtin();
    let folder = |name: &str| {
        let entry = catalog.entry(name);
        entry.map_or_else(PathBuf::new, |entry| cache.model_folder(entry))
    };
    let (hears, speaks) = (folder(RECOGNIZER), folder(SYNTHESIZER));
    let recognizer = output.with_bar(|job| Recognizer::load(&hears, job))?;
    let synthesizer = output.with_bar(|job| Synthesizer::load(&speaks, job))?;
    Ok((recognizer, synthesizer))
}

/// What voice lacks, how large it is, and what brings it.
pub(super) fn needs(missing: &[Entry]) -> String {
    let names: Vec<&str> = missing.iter().map(|entry| entry.name.as_str()).collect();
    let size = |entry: &Entry| format!("{} ({:.0} MB)", entry.name, entry.bytes() as f64 / 1e6);
    let sizes: Vec<String> = missing.iter().map(size).collect();
    let (sizes, names) = (sizes.join(" and "), names.join(" "));
    format!("voice needs {sizes}: run `whittle fetch {names}`")
}

impl TalkArgs {
    pub(super) fn files(&self) -> Files {
        Files::default()
            .reads([&self.file])
            .reads(&self.question)
            .writes(&self.answer)
    }
}

pub(super) fn run(args: &TalkArgs, output: &Output) -> anyhow::Result<()> {
    let packed: Arc<dyn WeightSource> =
        Arc::new(output.with_bar(|job| PackedModel::open(&args.file, job))?);
    let cache = args.kv_bits.unwrap_or(packed.cache());
    let processor = Arc::new(Processor::new(args.threads)?);
    let mut assistant = ModelAssistant::new(
        packed,
        processor,
        args.system.as_deref(),
        args.sampling.sampling(),
    )
    .with_cache(cache);
    let (recognizer, synthesizer) = open_voice(output)?;
    match (&args.question, &args.answer) {
        (Some(question), Some(answer)) => {
            let report =
                answer_recording(&recognizer, &synthesizer, &mut assistant, question, answer)?;
            output.emit(&report, text)
        }
        _ => {
            let barge_in = if args.barge_in {
                BargeIn::Allowed
            } else {
                BargeIn::Ignored
            };
            talk_live(recognizer, synthesizer, assistant, barge_in, output)
        }
    }
}

/// One turn from file to file.
pub(super) fn answer_recording(
    recognizer: &Recognizer,
    synthesizer: &Synthesizer,
    assistant: &mut ModelAssistant,
    question: &Path,
    answer: &Path,
) -> anyhow::Result<TalkReport> {
    let audio = wav::read_16k(question)?;
    let Turn {
        heard,
        said,
        audio_24k,
        timings,
    } = talk(
        recognizer,
        synthesizer,
        assistant,
        &audio,
        &Job::silent(),
        &|_| {},
    )?;
    let audio_seconds = audio_24k.len() as f64 / f64::from(SPOKEN_HZ);
    wav::write(
        answer,
        &Recording {
            samples: audio_24k,
            sample_rate_hz: SPOKEN_HZ,
        },
    )?;
    Ok(TalkReport {
        heard,
        said,
        timings,
        audio_seconds,
    })
}

pub(super) fn text(r: &TalkReport) -> String {
    let t = &r.timings;
    let AnswerParts { line, reply } = AnswerParts::of(&r.said);
    let intent = line.map_or_else(String::new, |line| format!("\nto do: {line}"));
    format!(
        "heard: {}{intent}\nsaid:  {}\nfrom the end of speech: endpoint {:.0} ms, words {:.0} ms, first token {:.0} ms, first audio {:.0} ms, all {:.0} ms ({:.1} s of audio)",
        r.heard,
        reply.trim(),
        t.endpoint_ms,
        t.recognize_ms,
        t.first_token_ms,
        t.first_audio_ms,
        t.total_ms,
        r.audio_seconds
    )
}

/// Talks until a device fails or the process is interrupted; one line or object for each turn.
fn talk_live(
    recognizer: Recognizer,
    synthesizer: Synthesizer,
    assistant: ModelAssistant,
    barge_in: BargeIn,
    output: &Output,
) -> anyhow::Result<()> {
    let audio = LiveAudio::open(None, None)?;
    let voice = LiveVoice::start(
        Arc::new(recognizer),
        Arc::new(synthesizer),
        Box::new(assistant),
        audio,
        barge_in,
    );
    output.remark("Listening. Ctrl+C ends the conversation.");
    for event in &voice.events {
        match event {
            LiveEvent::Turn(TurnEvent::Heard(heard)) => output.remark(&format!("heard: {heard}")),
            LiveEvent::Finished(turn) => {
                let audio_seconds = turn.audio_24k.len() as f64 / f64::from(SPOKEN_HZ);
                let report = TalkReport {
                    heard: turn.heard,
                    said: turn.said,
                    timings: turn.timings,
                    audio_seconds,
                };
                output.emit(&report, text)?;
            }
            LiveEvent::NoAnswer(reason) => output.remark(&reason),
            LiveEvent::Failed(reason) => bail!(reason),
            LiveEvent::State(_)
            | LiveEvent::Turn(TurnEvent::Text(_) | TurnEvent::Spoken { .. }) => {}
        }
    }
    Ok(())
}
