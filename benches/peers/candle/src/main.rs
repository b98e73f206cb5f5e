//! Drives candle so that it does what `whittle bench` does.
//!
//! `candle-peer MODEL.gguf` prints one line of JSON; RAYON_NUM_THREADS sets its threads.

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use std::error::Error;
use std::fs::File;
use std::time::Instant;

const PREFILL: u32 = 512;
const DECODE: u32 = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: candle-peer MODEL.gguf")?;
    let device = Device::Cpu;
    let mut file = File::open(path)?;
    let content = Content::read(&mut file)?;
    let mut model = ModelWeights::from_gguf(content, &mut file, &device)?;
    let token = |i: u32| i * 7919 % 49_152;
    let mut forward = |tokens: &[u32], position: usize| -> Result<(), Box<dyn Error>> {
        let input = Tensor::new(tokens, &device)?.unsqueeze(0)?;
        // The values are asked for, so that nothing is left undone.
        model.forward(&input, position)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(())
    };
    let prompt: Vec<u32> = (0..PREFILL).map(token).collect();
    // The first pass pays for pages.
    forward(&prompt[..8], 0)?;
    let start = Instant::now();
    forward(&prompt, 0)?;
    let prefill = f64::from(PREFILL) / start.elapsed().as_secs_f64();
    let start = Instant::now();
    for i in 0..DECODE {
        forward(&[token(i)], (PREFILL + i) as usize)?;
    }
    let decode = f64::from(DECODE) / start.elapsed().as_secs_f64();
    println!("{{\"prefill_tokens_per_second\": {prefill:.2}, \"decode_tokens_per_second\": {decode:.2}}}");
    Ok(())
}
