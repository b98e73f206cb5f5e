//! Compares the engine's float path with another program's log-probabilities of the same model.
//!
//!     compare_log_probs MODEL TEXT BASE WINDOWS
//!
//! BASE holds 32-bit floats `[windows, 255, vocab]`: the log-probabilities of the second half of each
//! window of 512 tokens, as `quality base` (`benches/peers/quality.cpp`) writes them for the same file. Prints the mean KL(base || engine) and the share of equal top tokens.

use engine::arena::{ArenaLayout, CachePrecision, Limits};
use engine::sampler::argmax;
use engine::session::Session;
use std::path::Path;
use std::sync::Arc;
use whittle::compress::compress;
use whittle::evaluate::{log_sum_exp, scored_positions, window_tokens, windows};
use whittle::job::Job;
use whittle::model::Model;
use whittle::packed::{LiveModel, TextSections, WeightSource};
use whittle::recipe::Recipe;
use whittle::workers::Processor;

type Failure = Box<dyn std::error::Error>;

#[expect(clippy::print_stdout, reason = "a program that prints its result")]
fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, text, base, count] = arguments.as_slice() else {
        return Err("usage: compare_log_probs MODEL TEXT BASE WINDOWS".into());
    };
    let model = Model::load(Path::new(model), &Job::silent())?;
    let count: usize = count.parse()?;
    let window = window_tokens(model.hyperparameters.context);
    let windows = windows(&model, &std::fs::read_to_string(text)?, count * window)?;
    let compressed = compress(&model, &Recipe::original(), &Job::silent())?;
    let live = LiveModel::new(
        model.hyperparameters,
        Arc::new(TextSections::new(&model)?),
        &compressed,
    )?;
    let processor = Processor::new(None)?;
    let base = std::fs::read(base)?;
    let vocab = live.shape().vocab as usize;
    let scored = scored_positions(window);
    if base.len() < windows.len() * scored * vocab * 4 {
        return Err(format!(
            "{} bytes are too few for {} windows",
            base.len(),
            windows.len()
        )
        .into());
    }
    let limits = Limits {
        context: window,
        batch: 64,
        cache: CachePrecision::Sixteen,
    };
    let mut arena = vec![0; ArenaLayout::new(live.shape(), limits).words()];
    let mut logits = vec![0.0; scored * vocab];
    let (mut kl, mut same, mut positions) = (0.0, 0, 0);
    for (tokens, base) in windows.iter().zip(base.chunks_exact(scored * vocab * 4)) {
        let mut result = Ok(());
        live.lend(&mut |weights| {
            result = Session::new(weights.shape(), limits, &mut arena).and_then(|mut s| {
                s.forward(
                    weights,
                    &processor.host(),
                    &tokens[..window - 1],
                    &mut logits,
                )
            });
        });
        result?;
        for (base, own) in base.chunks_exact(vocab * 4).zip(logits.chunks_exact(vocab)) {
            let base: Vec<f32> = base
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect();
            let (b, o) = (log_sum_exp(&base), log_sum_exp(own));
            let term = |(x, y): (&f32, &f32)| {
                let log_p = f64::from(*x) - b;
                log_p.exp() * (log_p - (f64::from(*y) - o))
            };
            kl += base.iter().zip(own).map(term).sum::<f64>();
            same += usize::from(argmax(&base) == argmax(own));
            positions += 1;
        }
    }
    println!(
        "{positions} positions: mean KL {:.6}, same top token {:.2} %",
        kl / f64::from(positions),
        100.0 * same as f64 / f64::from(positions)
    );
    Ok(())
}
