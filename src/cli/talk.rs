//! `whittle talk`: a spoken question in, a spoken answer out.

use super::files::Files;
use super::sampling::SamplingArgs;
use super::{Output, kv_bits};
use crate::catalog::{Cache, Catalog, Entry};
use crate::job::Job;
#[cfg(feature = "flash")]
use crate::link::BoardTurn;
use crate::packed::intent::AnswerParts;
use crate::packed::{PackedModel, WeightSource};
use crate::speech::recognize::Recognizer;
use crate::speech::synthesize::Synthesizer;
use crate::speech::{RECOGNIZER, SYNTHESIZER, missing_models};
use crate::voice::audio::LiveAudio;
use crate::voice::live::{LiveEvent, LiveVoice};
use crate::voice::wav::{self, Recording};
use crate::voice::{Assistant, BargeIn, ModelAssistant, Timings, Turn, TurnEvent, talk};
use crate::workers::Processor;
use anyhow::{Context as _, bail};
#[cfg(feature = "flash")]
use clap::builder::NonEmptyStringValueParser;
use engine::arena::CachePrecision;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// Rate of the synthesizer's audio.
pub(super) const SPOKEN_HZ: u32 = 24_000;

/// Answer a spoken question with a packed model or a board, from a WAV file or live
#[derive(Debug, clap::Args)]
pub(super) struct TalkArgs {
    /// Packed file; with --port the one that is expected on the board, or none
    #[cfg_attr(feature = "flash", arg(required_unless_present = "port"))]
    #[cfg_attr(not(feature = "flash"), arg(required = true))]
    file: Option<PathBuf>,
    /// Let the board on this port answer, or the emulated one, sim:esp32-c3
    #[cfg(feature = "flash")]
    #[arg(long, value_name = "P", value_parser = NonEmptyStringValueParser::new(), conflicts_with_all = ["system", "threads", "kv_bits"])]
    port: Option<String>,
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
    /// What the board answered, where one did.
    #[cfg(feature = "flash")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) board: Option<BoardTurn>,
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
            .reads(&self.file)
            .reads(&self.question)
            .writes(&self.answer)
    }
}

pub(super) fn run(args: &TalkArgs, output: &Output) -> anyhow::Result<()> {
    #[cfg(feature = "flash")]
    if let Some(port) = &args.port {
        return on_board::run(args, port, output);
    }
    let file = args.file.as_ref().context("expected a packed file")?;
    let packed: Arc<dyn WeightSource> =
        Arc::new(output.with_bar(|job| PackedModel::open(file, job))?);
    let cache = args.kv_bits.unwrap_or(packed.cache());
    let processor = Arc::new(Processor::new(args.threads)?);
    let mut assistant = ModelAssistant::new(
        packed,
        processor,
        args.system.as_deref(),
        args.sampling.sampling(),
    )
    .with_cache(cache);
    let voice = open_voice(output)?;
    match (&args.question, &args.answer) {
        (Some(question), Some(answer)) => {
            let voice = (&voice.0, &voice.1);
            let turn = output
                .with_bar(|job| answer_recording(voice, &mut assistant, (question, answer), job))?;
            output.emit(&TalkReport::of(turn), text)
        }
        _ => output.with_bar(|job| {
            let mut tell = |turn| output.emit(&TalkReport::of(turn), text);
            talk_live(voice, Box::new(assistant), args, &mut tell, (output, job))
        }),
    }
}

/// One turn from file to file.
pub(super) fn answer_recording(
    (recognizer, synthesizer): (&Recognizer, &Synthesizer),
    assistant: &mut dyn Assistant,
    (question, answer): (&Path, &Path),
    job: &Job<'_>,
) -> anyhow::Result<Turn> {
    let audio = wav::read_16k(question)?;
    let mut turn = talk(recognizer, synthesizer, assistant, &audio, job, &|_| {})?;
    let recording = Recording {
        samples: turn.audio_24k,
        sample_rate_hz: SPOKEN_HZ,
    };
    wav::write(answer, &recording)?;
    turn.audio_24k = recording.samples;
    Ok(turn)
}

impl TalkReport {
    /// That of a turn with a model.
    pub(super) fn of(turn: Turn) -> Self {
        Self {
            audio_seconds: turn.audio_24k.len() as f64 / f64::from(SPOKEN_HZ),
            heard: turn.heard,
            said: turn.said,
            timings: turn.timings,
            #[cfg(feature = "flash")]
            board: None,
        }
    }
}

pub(super) fn text(r: &TalkReport) -> String {
    let t = &r.timings;
    let AnswerParts { line, reply } = AnswerParts::of(&r.said);
    let intent = line.map_or_else(String::new, |line| format!("\nto do: {line}"));
    #[cfg(feature = "flash")]
    let board = r
        .board
        .as_ref()
        .map_or_else(String::new, super::chat::on_board::told);
    #[cfg(not(feature = "flash"))]
    let board = "";
    format!(
        "heard: {}{intent}\nsaid:  {}\nfrom the end of speech: endpoint {:.0} ms, words {:.0} ms, first token {:.0} ms, first audio {:.0} ms, all {:.0} ms ({:.1} s of audio){board}",
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

/// How long a conversation may take to notice that it was asked to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Talks until a device fails or Ctrl-C ends it; tells each turn.
fn talk_live(
    (recognizer, synthesizer): (Recognizer, Synthesizer),
    assistant: Box<dyn Assistant + Send>,
    args: &TalkArgs,
    tell: &mut dyn FnMut(Turn) -> anyhow::Result<()>,
    (output, job): (&Output, &Job<'_>),
) -> anyhow::Result<()> {
    let barge_in = if args.barge_in {
        BargeIn::Allowed
    } else {
        BargeIn::Ignored
    };
    let audio = LiveAudio::open(None, None)?;
    let voice = LiveVoice::start(
        Arc::new(recognizer),
        Arc::new(synthesizer),
        assistant,
        audio,
        barge_in,
    );
    output.remark("Listening. Ctrl+C ends the conversation.");
    loop {
        job.check()?;
        let event = match voice.events.recv_timeout(LOOK) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        match event {
            LiveEvent::Turn(TurnEvent::Heard(heard)) => output.remark(&format!("heard: {heard}")),
            LiveEvent::Finished(turn) => tell(turn)?,
            LiveEvent::NoAnswer(reason) => output.remark(&reason),
            LiveEvent::Failed(reason) => bail!(reason),
            LiveEvent::State(_)
            | LiveEvent::Turn(TurnEvent::Text(_) | TurnEvent::Spoken { .. }) => {}
        }
    }
}

/// The answers of a board.
#[cfg(feature = "flash")]
mod on_board {
    use super::{TalkArgs, TalkReport, answer_recording, open_voice, talk_live, text};
    use crate::board::Board;
    use crate::cli::Output;
    use crate::job::{Cancelled, Job};
    use crate::link::{
        BoardAssistant, BoardQuestion, BoardTurn, EMULATED_FLASH_BYTES, HELLO_PATIENCE,
    };
    use crate::packed::PackedModel;
    use crate::voice::Turn;
    use anyhow::bail;
    use engine::sampler::Sampling;
    use std::sync::{Arc, Mutex, PoisonError};

    pub(super) fn run(args: &TalkArgs, port: &str, output: &Output) -> anyhow::Result<()> {
        let file = args.file.as_ref();
        let packed = file.map(|file| output.with_bar(|job| PackedModel::open(file, job)));
        let device = crate::cli::flash::open(port, EMULATED_FLASH_BYTES)?;
        let mut client = device.client()?;
        // Before the microphone is opened for a board that is not there.
        output.with_bar(|job| client.hello(HELLO_PATIENCE, job))?;
        let voice = open_voice(output)?;
        let (sampling, packed) = (args.sampling.sampling(), packed.transpose()?);
        output.with_bar(|job| {
            let mut assistant = BoardAssistant::new(client, sampling, job);
            let answers = Answers {
                last: Arc::clone(&assistant.last),
                packed,
                boards: crate::cli::reports::known(),
                sampling,
            };
            match (&args.question, &args.answer) {
                (Some(question), Some(answer)) => {
                    let voice = (&voice.0, &voice.1);
                    let turn = answer_recording(voice, &mut assistant, (question, answer), job)?;
                    let report = answers.report(turn, job)?;
                    output.emit(&report, text)?;
                    match report.board.and_then(|turn| turn.differs) {
                        Some(differs) => bail!("{differs}"),
                        None => Ok(()),
                    }
                }
                _ => {
                    let mut tell = |turn| {
                        let report = answers.report(turn, job)?;
                        output.emit(&report, text)?;
                        if let Some(differs) = report.board.and_then(|turn| turn.differs) {
                            output.remark(&differs);
                        }
                        Ok(())
                    };
                    talk_live(voice, Box::new(assistant), args, &mut tell, (output, job))
                }
            }
        })
    }

    /// What the board answers, and what it is compared with.
    struct Answers {
        last: Arc<Mutex<Option<BoardTurn>>>,
        packed: Option<PackedModel>,
        boards: Vec<Board>,
        sampling: Sampling,
    }

    impl Answers {
        fn report(&self, turn: Turn, job: &Job<'_>) -> Result<TalkReport, Cancelled> {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            // While this one was played the next may have been asked for.
            let answer = last
                .clone()
                .filter(|last| last.answer.text.trim() == turn.said);
            drop(last);
            let question = BoardQuestion::spoken(&turn.heard, self.sampling);
            let board = match (answer, &self.packed) {
                (Some(answer), Some(packed)) => {
                    Some(answer.beside((packed, &self.boards), &question, job)?)
                }
                (answer, _) => answer,
            };
            Ok(TalkReport {
                board,
                ..TalkReport::of(turn)
            })
        }
    }
}
