//! `whittle demo`: the whole road once, with figures.

use super::Output;
use super::compress::peak_rss_bytes;
use super::open::open_model;
use crate::board::Board;
use crate::compress::compress;
use crate::estimate::{ModelShape, Options, RuntimeMemory, estimate, plan};
use crate::flash::Loader;
use crate::packed::{Conversation, PackedModel, Question};
use crate::recipe::Recipe;
use crate::voice::{ModelAssistant, SPOKEN_SYSTEM};
use crate::workers::Processor;
use engine::sampler::Sampling;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

/// A real question: "go forward ten meters".
const QUESTION: &[u8] = include_bytes!("../../assets/speech/go-forward.wav");
const PROMPT: &str = "What is the capital of France?";
/// The smallest preset: what the fake board is written with.
const SMALLEST: &str = "seed-extreme";

/// Walk the whole road once: load, compress, estimate, pack, chat, talk, flash to a fake board
#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Path or catalog name of a model
    #[arg(default_value = "smollm2-135m")]
    model: String,
    /// Preset or path of a recipe
    #[arg(long, value_name = "R", default_value = "balanced-4bit")]
    recipe: String,
}

pub(super) fn run(args: &DemoArgs, output: &Output) -> anyhow::Result<()> {
    let mut steps = Steps {
        output,
        done: Vec::new(),
    };
    let folder = tempfile::tempdir()?;
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

    let start = Instant::now();
    let question = Question {
        system: None,
        user: PROMPT,
        max_tokens: 32,
        sampling: Sampling::GREEDY,
        stop: &[],
    };
    let answer =
        Conversation::new(&packed, 512).ask(&packed, &processor.host(), &question, &mut |_| {
            ControlFlow::Continue(())
        })?;
    let (speed, hash) = (
        answer.decode_tokens_per_second(),
        format!("{:016x}", answer.logits_hash.0),
    );
    steps.done("chat", start, json!({"prompt": PROMPT, "text": answer.text, "logits_hash": hash, "decode_tokens_per_second": speed}), &format!(
        "\"{PROMPT}\" \"{}\" at {speed:.1} tokens/s, logits {hash}", answer.text
    ))?;

    let start = Instant::now();
    let (recognizer, synthesizer) = super::talk::open_voice(output)?;
    let wav = folder.path().join("question.wav");
    std::fs::write(&wav, QUESTION)?;
    let mut assistant = ModelAssistant::new(
        Arc::new(packed),
        Arc::clone(&processor),
        Some(SPOKEN_SYSTEM),
        Sampling::GREEDY,
    );
    let turn = super::talk::answer_recording(
        &recognizer,
        &synthesizer,
        &mut assistant,
        &wav,
        &folder.path().join("answer.wav"),
    )?;
    steps.done(
        "talk",
        start,
        serde_json::to_value(&turn)?,
        &super::talk::text(&turn).replace('\n', "\n             "),
    )?;

    flash_fake(&mut steps, &model, &recipe)?;
    steps.finish()
}

/// Writes the smallest preset of the model to a fake board that has room for it.
fn flash_fake(
    steps: &mut Steps<'_>,
    model: &crate::model::Model,
    recipe: &Recipe,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let output = steps.output;
    let smallest = Recipe::open(SMALLEST)?;
    let compressed = output.with_bar(|job| compress(model, &smallest, job))?;
    let packed = output.with_bar(|job| PackedModel::pack(model, &compressed, job))?;
    let mut board = super::estimate::board("esp32-c3")?;
    let refused = super::flash::image(&board, None, packed.bytes())
        .err()
        .map(|e| e.to_string());
    let room = (packed.bytes().len() as u64 + (1 << 20)).next_power_of_two();
    if let Some(flash) = &mut board.serial_flash {
        flash.bytes.value = flash.bytes.value.max(room);
    }
    let image = super::flash::image(&board, None, packed.bytes())?;
    let flashed = super::flash::write("fake", &image, Loader::Stub, output)?;
    let mut text = format!(
        "{SMALLEST} instead of {}, since boards are small",
        recipe.name
    );
    if let Some(reason) = &refused {
        text += &format!("\n             {}: {reason}", board.name);
    }
    text += &format!(
        "\n             a fake ESP32-C3 with {} MB of flash: {:.1} MB written, {:.1} MB verified",
        image.flash_bytes >> 20,
        flashed.written_bytes as f64 / 1e6,
        flashed.verified_bytes as f64 / 1e6
    );
    steps.done(
        "flash",
        start,
        json!({"recipe": SMALLEST, "refused": refused, "flashed": flashed}),
        &text,
    )
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
