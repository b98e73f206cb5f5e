//! `whittle demo`: the whole road once, with figures.

use super::Output;
use super::compress::peak_rss_bytes;
use super::open::open_model;
use super::talk::{SPOKEN_HZ, TalkReport};
use crate::board::Board;
use crate::catalog::{Cache, DEFAULT_MODEL, Entry};
use crate::compress::compress;
use crate::estimate::{ModelShape, Options, RuntimeMemory, estimate, plan};
use crate::link::{FlashOptions, Flashed, Image};
use crate::model::Model;
use crate::packed::intent::AnswerParts;
use crate::packed::{Conversation, PackedModel, Question, WeightSource};
use crate::recipe::Recipe;
use crate::speech::missing_models;
use crate::speech::synthesize::Synthesizer;
use crate::voice::ModelAssistant;
use crate::voice::wav::{self, Recording};
use crate::whole_file::Scratch;
use crate::workers::Processor;
use anyhow::{Context as _, bail};
use engine::dialogue::Dialogue;
use engine::sampler::Sampling;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// A recorded question: "go forward ten meters".
const QUESTION: &[u8] = include_bytes!("../../assets/speech/go-forward.wav");
/// The smallest preset: what the fake board is written with when the recipe's file does not fit.
const SMALLEST: &str = "seed-extreme";

/// Walk the whole road once: load, compress, estimate, pack, chat, talk, flash to a fake board
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Path or catalog name of a model
    #[arg(default_value = DEFAULT_MODEL)]
    model: PathBuf,
    /// Preset or path of a recipe
    #[arg(long, value_name = "R", default_value = "balanced-4bit")]
    recipe: PathBuf,
}

pub(super) fn run(args: &DemoArgs, output: &Output) -> anyhow::Result<()> {
    let mut steps = Steps {
        output,
        done: Vec::new(),
    };
    let begun = Instant::now();
    let folder = Scratch::new()?;
    let processor = Arc::new(Processor::new(None)?);

    let start = Instant::now();
    let model = open_model(&args.model, output)?;
    let h = model.hyperparameters;
    steps.done("load", start, json!({"model": model.name, "parameters": model.parameters(), "file_bytes": model.file_bytes}), &format!(
        "{}: {} layers, {:.1} M parameters, {:.1} MB of {}",
        model.name, h.layers, model.parameters() as f64 / 1e6, model.file_bytes as f64 / 1e6, model.provenance.source_precision
    ))?;

    let start = Instant::now();
    let recipe = Recipe::open(&args.recipe)?;
    let compressed = output.with_bar(|job| compress(&model, &recipe, job))?;
    let bits = compressed.bits_per_weight();
    steps.done(
        "compress",
        start,
        json!({"recipe": recipe.name, "bits_per_weight": bits}),
        &format!("{}: {bits:.3} bits per weight", recipe.name),
    )?;

    let start = Instant::now();
    let shape = ModelShape::of(&model)?;
    let tensors = plan(&shape, &|role, layer| recipe.setting(role, layer, h.layers));
    let options = Options::default();
    let memory = RuntimeMemory::of(&shape, options.context_tokens, options.cache);
    let estimates: Vec<_> = Board::presets()
        .iter()
        .map(|board| estimate(&shape, &tensors, memory, board, &options))
        .collect();
    let lines: Vec<String> = estimates
        .iter()
        .map(|e| match &e.limit {
            None => format!("\n             {}: fits", e.id),
            Some(limit) => format!("\n             {}: {limit}", e.id),
        })
        .collect();
    steps.done(
        "estimate",
        start,
        json!({"boards": estimates}),
        &lines.concat(),
    )?;

    let start = Instant::now();
    let packed = output.with_bar(|job| PackedModel::pack(&model, &compressed, job))?;
    packed.save(&folder.path().join("model.whittle"))?;
    let bytes = packed.bytes().len();
    steps.done(
        "pack",
        start,
        json!({"bytes": bytes, "peak_rss_bytes": peak_rss_bytes()}),
        &format!("{bytes} bytes, everything counted"),
    )?;

    chat(&mut steps, &model, &packed, &processor, begun)?;
    let packed = Arc::new(packed);
    talk(
        &mut steps,
        model.dialogue,
        &packed,
        &processor,
        folder.path(),
    )?;
    flash_fake(&mut steps, &model, &packed, &recipe)?;
    steps.finish()
}

/// Asks in writing, as a person types.
fn chat(
    steps: &mut Steps<'_>,
    model: &Model,
    packed: &PackedModel,
    processor: &Processor,
    begun: Instant,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let prompt = prompt(model.dialogue);
    let question = Question {
        system: None,
        user: prompt,
        max_tokens: 32,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let mut first_token = None;
    let mut conversation = Conversation::new(packed, 512);
    let answer = conversation.ask(packed, &processor.host(), &question, &mut |_| {
        first_token.get_or_insert_with(|| begun.elapsed().as_secs_f64());
        ControlFlow::Continue(())
    })?;
    let speed = answer.decode_tokens_per_second();
    let hash = format!("{:016x}", answer.logits_hash.0);
    let AnswerParts { line, reply } = AnswerParts::of(&answer.text);
    let to_do = line.map_or_else(String::new, |line| format!("{line}, "));
    let text = format!(
        "\"{prompt}\" {to_do}\"{}\" at {speed:.1} tokens/s, logits {hash}; the first {:.2} s after the start",
        reply.trim(),
        first_token.unwrap_or_default()
    );
    let figures = json!({
        "prompt": prompt,
        "text": answer.text,
        "intent": line,
        "reply": reply.trim(),
        "logits_hash": hash,
        "decode_tokens_per_second": speed,
        "first_token_seconds_after_start": first_token,
    });
    steps.done("chat", start, figures, &text)
}

/// Asks through speech, or says what that would need.
fn talk(
    steps: &mut Steps<'_>,
    dialogue: Dialogue,
    packed: &Arc<PackedModel>,
    processor: &Arc<Processor>,
    folder: &Path,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let missing = missing_models(Cache::if_any()?.as_ref());
    if !missing.is_empty() {
        let size = |entry: &Entry| json!({"name": entry.name, "bytes": entry.bytes()});
        let figures = json!({ "missing": missing.iter().map(size).collect::<Vec<_>>() });
        let text = format!("in writing only: {}", super::talk::needs(&missing));
        return steps.done("talk", start, figures, &text);
    }
    let (recognizer, synthesizer) = super::talk::open_voice(steps.output)?;
    let wav = folder.join("question.wav");
    match dialogue {
        Dialogue::Conversation => std::fs::write(&wav, QUESTION)?,
        Dialogue::Commands => wav::write(&wav, &spoken(&synthesizer, prompt(dialogue))?)?,
    }
    let packed: Arc<dyn WeightSource> = Arc::<PackedModel>::clone(packed);
    let mut assistant = ModelAssistant::new(packed, Arc::clone(processor), None, Sampling::GREEDY);
    let answer = folder.join("answer.wav");
    let voice = (&recognizer, &synthesizer);
    let turn = steps.output.with_bar(|job| {
        super::talk::answer_recording(voice, &mut assistant, (&wav, &answer), job)
    })?;
    let turn = TalkReport::of(turn);
    steps.done(
        "talk",
        start,
        serde_json::to_value(&turn)?,
        &super::talk::text(&turn).replace('\n', "\n             "),
    )
}

/// What is asked: something that the model knows.
const fn prompt(dialogue: Dialogue) -> &'static str {
    match dialogue {
        Dialogue::Conversation => "What is the capital of France?",
        Dialogue::Commands => "Turn on the kitchen light!",
    }
}

/// A command as the synthesizer says it, with the silence before it that a recording has.
fn spoken(synthesizer: &Synthesizer, command: &str) -> anyhow::Result<Recording> {
    let mut samples = vec![0.0; SPOKEN_HZ as usize / 4];
    samples.extend(synthesizer.synthesize(command)?);
    Ok(Recording {
        samples,
        sample_rate_hz: SPOKEN_HZ,
    })
}

/// Writes the model to a fake board; where it does not fit, its smallest preset to one that has room for it.
fn flash_fake(
    steps: &mut Steps<'_>,
    model: &Model,
    packed: &PackedModel,
    recipe: &Recipe,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let output = steps.output;
    let mut board = Board::open("esp32-c3")?;
    let (mut name, mut refused, mut text) = (recipe.name.as_str(), None, String::new());
    let image = match super::flash::image(&board, None, packed.bytes()) {
        Ok(image) => image,
        Err(_) => {
            let smallest = Recipe::open(SMALLEST)?;
            let compressed = output.with_bar(|job| compress(model, &smallest, job))?;
            let packed = output.with_bar(|job| PackedModel::pack(model, &compressed, job))?;
            name = SMALLEST;
            text = format!(
                "{SMALLEST} instead of {}, since boards are small",
                recipe.name
            );
            if let Err(error) = super::flash::image(&board, None, packed.bytes()) {
                text += &format!("\n             {}: {error}", board.name);
                refused = Some(error.to_string());
            }
            let room = (packed.bytes().len() as u64 + (1 << 20)).next_power_of_two();
            if let Some(flash) = &mut board.serial_flash {
                flash.bytes.value = flash.bytes.value.max(room);
            }
            super::flash::image(&board, None, packed.bytes())?
        }
    };
    let flashed = write_fake(&image, output)?;
    if !text.is_empty() {
        text += "\n             ";
    }
    text += &format!(
        "a fake ESP32-C3 with {} MB of flash: {:.1} MB written, {:.1} MB verified",
        image.flash_bytes >> 20,
        flashed.written_bytes as f64 / 1e6,
        flashed.verified_bytes as f64 / 1e6
    );
    let figures = json!({"recipe": name, "refused": refused, "flashed": flashed});
    steps.done("flash", start, figures, &text)
}

/// Writes an image to a fake board with the flash that it is for, and reads it back.
fn write_fake(image: &Image, output: &Output) -> anyhow::Result<Flashed> {
    #[cfg(unix)]
    {
        let bytes = usize::try_from(image.flash_bytes)?;
        let board = crate::link::FakeBoard::with_flash(bytes, &[])
            .context("cannot start the fake board")?;
        let options = FlashOptions {
            reset: crate::link::Reset::None,
            ..FlashOptions::default()
        };
        let flashed = output.with_bar(|job| {
            let mut go_on = |_: &crate::link::FlashPlan| ControlFlow::Continue(());
            crate::link::flash(board.port(), image, &options, &mut go_on, job)
        })?;
        let flashed = flashed.context("nothing was written")?;
        let held = board.flash();
        for segment in &image.segments {
            let start = segment.address as usize;
            if held.get(start..start + segment.bytes.len()) != Some(segment.bytes.as_slice()) {
                bail!("the fake board holds something else at {start:#x} than was written");
            }
        }
        Ok(flashed)
    }
    #[cfg(not(unix))]
    {
        let _nowhere = (image, output);
        bail!("the fake board needs a pseudo-terminal, which this system does not have");
    }
}

/// Prints each step when it is done, or all of them as one object at the end.
struct Steps<'a> {
    output: &'a Output,
    done: Vec<(&'static str, Value)>,
}

impl Steps<'_> {
    fn done(
        &mut self,
        name: &'static str,
        start: Instant,
        mut figures: Value,
        text: &str,
    ) -> anyhow::Result<()> {
        let seconds = start.elapsed().as_secs_f64();
        if let Some(object) = figures.as_object_mut() {
            object.insert("seconds".into(), json!(seconds));
        }
        if !self.output.is_json() {
            self.output
                .emit(&figures, |_| format!("{name:9} {seconds:5.1} s  {text}"))?;
        }
        self.done.push((name, figures));
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        if self.output.is_json() {
            let all: serde_json::Map<String, Value> = self
                .done
                .into_iter()
                .map(|(name, v)| (name.to_owned(), v))
                .collect();
            self.output.emit(&Value::Object(all), |_| String::new())?;
        }
        Ok(())
    }
}
