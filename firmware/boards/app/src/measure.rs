//! What an answer costs: time by block and kind of work, and how fast the memories are.

use crate::Board;
use core::hint::black_box;
use engine::session::{Session, SessionError, Work};
use engine::weights::Weights;

/// Blocks that are told apart; a longer model is not measured.
pub(crate) const LAYERS: usize = 64;
/// Read of each memory, at most: sixteen times the ESP32-C3's cache.
const READ_BYTES: usize = 256 * 1024;

/// Ticks by block and kind of work. The last row is of what is done once a token.
#[derive(Debug)]
pub struct Costs {
    ticks: [[u64; Work::ALL.len()]; LAYERS + 1],
    /// Position of the first token.
    pub(crate) position: usize,
    /// Tokens.
    pub(crate) tokens: usize,
}

impl Costs {
    pub(crate) const fn new() -> Self {
        Self {
            ticks: [[0; Work::ALL.len()]; LAYERS + 1],
            position: 0,
            tokens: 0,
        }
    }

    fn add(&mut self, layer: Option<u32>, work: Work, ticks: u64) {
        let row = layer.map_or(LAYERS, |layer| layer as usize).min(LAYERS);
        self.ticks[row][work as usize] += ticks;
    }

    /// All that took time.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Option<u32>, Work, u64)> + '_ {
        let rows = self.ticks.iter().enumerate();
        rows.flat_map(|(row, ticks)| {
            let layer = (row < LAYERS).then_some(row as u32);
            let kinds = Work::ALL.iter().zip(ticks);
            kinds.map(move |(work, ticks)| (layer, *work, *ticks))
        })
        .filter(|(_, _, ticks)| *ticks > 0)
    }
}

/// Computes a token and adds up what its parts take.
pub(crate) fn forward<B: Board>(
    board: &mut B,
    session: &mut Session<'_>,
    weights: &Weights<'_>,
    token: u32,
    logits: &mut [f32],
    costs: &mut Costs,
) -> Result<(), SessionError> {
    if costs.tokens == 0 {
        costs.position = session.position();
    }
    costs.tokens += 1;
    let host = board.host();
    let mut last = board.ticks();
    session.forward_watched(weights, &host, &[token], logits, &mut |layer, work| {
        let now = board.ticks();
        costs.add(layer, work, now - last);
        last = now;
    })
}

/// Reads memory word by word, as far as [`READ_BYTES`]: bytes read, and ticks.
pub(crate) fn read<B: Board>(board: &mut B, memory: &[u8]) -> (u32, u64) {
    let (_, words, _) = bytemuck::pod_align_to::<u8, u32>(memory);
    let words = &words[..words.len().min(READ_BYTES / 4)];
    let start = board.ticks();
    let sum = words
        .iter()
        .fold(0_u32, |sum, word| sum.wrapping_add(*word));
    black_box(sum);
    ((words.len() * 4) as u32, board.ticks() - start)
}
