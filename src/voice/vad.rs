//! Finds where speech begins and ends: the `earshot` detector with a little patience at both ends.
//!
//! [`Endpointer`] takes 16 kHz audio in blocks of any size and reports the begin of speech a few
//! frames after it happens and each finished [`Utterance`] after half a second of silence. The same
//! audio gives the same utterances, however it is cut into blocks.

use earshot::Detector;
use std::collections::VecDeque;

/// The sample rate of the audio.
const SAMPLE_RATE_HZ: usize = 16_000;
/// Samples that the detector judges at once: 16 ms.
const FRAME: usize = 256;
/// A frame with this score or more is speech.
const SPEECH_SCORE: f32 = 0.5;
/// Of the last five frames, so many must be speech for an utterance to begin.
const ONSET_FRAMES: usize = 3;
/// Frames that the onset is judged by.
const ONSET_WINDOW: usize = 5;
/// Silence that ends an utterance: 35 frames, 560 ms. Pauses within a sentence are shorter.
const HANGOVER_FRAMES: usize = 35;
/// Audio before the onset that belongs to the utterance: 25 frames, 400 ms, because detectors are
/// late and soft consonants early.
const PRE_ROLL_FRAMES: usize = 25;
/// Silence that stays at the end of an utterance: 12 frames, 192 ms.
const TAIL_FRAMES: usize = 12;
/// Fewer frames of speech than this are a click or a cough: 8 frames, 128 ms.
const LEAST_SPEECH_FRAMES: usize = 8;
/// An utterance is cut after this many frames, 28 s, to fit the recognizer's window.
const MOST_FRAMES: usize = 1750;

/// Something that was said.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Mono, 16 kHz, with a little silence at both ends.
    pub audio_16k: Vec<f32>,
    /// Samples from the begin of the stream to the first of `audio_16k`.
    pub start: u64,
    /// Samples from the begin of the stream to the end of the last frame with speech.
    pub speech_end: u64,
    /// Samples from the begin of the stream to the moment when the end was noticed.
    pub noticed: u64,
}

impl Utterance {
    /// Milliseconds from the end of speech until it was noticed.
    #[must_use]
    pub fn endpoint_ms(&self) -> f64 {
        (self.noticed - self.speech_end) as f64 * 1000.0 / SAMPLE_RATE_HZ as f64
    }
}

/// What the endpointer noticed.
#[derive(Debug, Clone, PartialEq)]
pub enum Endpoint {
    /// Somebody began to speak.
    Began,
    /// It was only a click.
    Dismissed,
    /// Somebody finished speaking.
    Ended(Utterance),
}

/// Cuts a stream of audio into utterances.
pub struct Endpointer {
    detector: Box<Detector>,
    /// Audio that does not fill a frame yet.
    partial: Vec<f32>,
    /// The newest frames while nobody speaks, the whole utterance while somebody does.
    frames: VecDeque<[f32; FRAME]>,
    /// Whether each of the last [`ONSET_WINDOW`] frames was speech.
    recent: VecDeque<bool>,
    speaking: Option<Speaking>,
    /// Frames judged so far.
    position: u64,
}

#[derive(Debug, Clone, Copy)]
struct Speaking {
    /// Position of the first frame that is kept.
    first: u64,
    /// Position after the last frame with speech.
    speech_end: u64,
    speech_frames: usize,
}

impl std::fmt::Debug for Endpointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpointer")
            .field("speaking", &self.speaking)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Default for Endpointer {
    fn default() -> Self {
        Self::new()
    }
}

impl Endpointer {
    /// An endpointer that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            detector: Box::default(),
            partial: Vec::with_capacity(FRAME),
            frames: VecDeque::new(),
            recent: VecDeque::new(),
            speaking: None,
            position: 0,
        }
    }

    /// Whether somebody is speaking.
    #[must_use]
    pub fn is_speaking(&self) -> bool {
        self.speaking.is_some()
    }

    /// Takes mono audio at 16 kHz and returns what it shows, in order.
    pub fn push(&mut self, block_16k: &[f32]) -> Vec<Endpoint> {
        let mut noticed = Vec::new();
        let mut rest = block_16k;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(FRAME - self.partial.len()));
            // The detector must not see what is not a number: its state would never recover.
            self.partial.extend(now.iter().map(|x| {
                if x.is_finite() {
                    x.clamp(-1.0, 1.0)
                } else {
                    0.0
                }
            }));
            rest = later;
            if let Ok(frame) = <[f32; FRAME]>::try_from(self.partial.as_slice()) {
                self.partial.clear();
                noticed.extend(self.judge(frame));
            }
        }
        noticed
    }

    /// Ends the stream: an utterance that is still going on is finished as it is.
    pub fn finish(&mut self) -> Option<Endpoint> {
        let speaking = self.speaking.take()?;
        Some(self.end(speaking))
    }

    fn judge(&mut self, frame: [f32; FRAME]) -> Option<Endpoint> {
        let is_speech = self.detector.predict_f32(&frame) >= SPEECH_SCORE;
        self.frames.push_back(frame);
        self.position += 1;
        let Some(speaking) = &mut self.speaking else {
            self.recent.push_back(is_speech);
            if self.recent.len() > ONSET_WINDOW {
                self.recent.pop_front();
            }
            let speech_frames = self.recent.iter().filter(|speech| **speech).count();
            if is_speech && speech_frames >= ONSET_FRAMES {
                self.recent.clear();
                let first = self.position - self.frames.len() as u64;
                self.speaking = Some(Speaking {
                    first,
                    speech_end: self.position,
                    speech_frames,
                });
                return Some(Endpoint::Began);
            }
            if self.frames.len() > PRE_ROLL_FRAMES {
                self.frames.pop_front();
            }
            return None;
        };
        if is_speech {
            speaking.speech_end = self.position;
            speaking.speech_frames += 1;
        }
        let speaking = *speaking;
        let silent = self.position - speaking.speech_end >= HANGOVER_FRAMES as u64;
        if silent || self.frames.len() >= MOST_FRAMES {
            self.speaking = None;
            return Some(self.end(speaking));
        }
        None
    }

    fn end(&mut self, speaking: Speaking) -> Endpoint {
        let last = (speaking.speech_end + TAIL_FRAMES as u64).min(self.position);
        let kept = usize::try_from(last - speaking.first)
            .unwrap_or(usize::MAX)
            .min(self.frames.len());
        let audio_16k: Vec<f32> = self.frames.iter().take(kept).flatten().copied().collect();
        let surplus = self.frames.len().saturating_sub(PRE_ROLL_FRAMES);
        self.frames.drain(..surplus);
        if speaking.speech_frames < LEAST_SPEECH_FRAMES {
            return Endpoint::Dismissed;
        }
        let samples = |frames: u64| frames * FRAME as u64;
        Endpoint::Ended(Utterance {
            audio_16k,
            start: samples(speaking.first),
            speech_end: samples(speaking.speech_end),
            noticed: samples(self.position),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A buzz with formants that come and go: enough like a vowel for the detector.
    pub(in super::super) fn vowel(samples: usize) -> Vec<f32> {
        let formants = [(700.0, 1.0), (1200.0, 0.5), (2600.0, 0.25)];
        (0..samples)
            .map(|i| {
                let t = i as f32 / SAMPLE_RATE_HZ as f32;
                let sway = 1.0 + 0.1 * (std::f32::consts::TAU * 4.0 * t).sin();
                let since_pulse = (t * 120.0 * sway).fract() / 120.0;
                let ring = |(hz, gain): (f32, f32)| {
                    gain * (-since_pulse * 400.0).exp()
                        * (std::f32::consts::TAU * hz * since_pulse).sin()
                };
                0.4 * formants.into_iter().map(ring).sum::<f32>()
            })
            .collect()
    }

    fn endpoints(audio: &[f32], block: usize) -> Vec<Endpoint> {
        let mut endpointer = Endpointer::new();
        audio
            .chunks(block)
            .flat_map(|block| endpointer.push(block))
            .collect()
    }

    #[test]
    fn a_vowel_between_silences_is_one_utterance_in_blocks_of_any_size() {
        let mut audio = vec![0.0; 16_000];
        audio.extend(vowel(16_000));
        audio.extend(vec![0.0; 16_000]);
        let found = endpoints(&audio, 160);
        let [Endpoint::Began, Endpoint::Ended(utterance)] = found.as_slice() else {
            panic!("{} endpoints", found.len())
        };
        assert!(
            (16_000 - 8_000..=16_000).contains(&utterance.start),
            "{}",
            utterance.start
        );
        assert!(
            (30_000..=36_000).contains(&utterance.speech_end),
            "{}",
            utterance.speech_end
        );
        assert!((500.0..620.0).contains(&utterance.endpoint_ms()));
        assert_eq!(found, endpoints(&audio, 1));
        assert_eq!(found, endpoints(&audio, 48_000));
    }

    #[test]
    fn silence_and_broken_samples_are_no_speech() {
        assert!(endpoints(&[0.0; 48_000], 480).is_empty());
        assert!(endpoints(&[f32::NAN; 16_000], 480).is_empty());
    }

    #[test]
    fn endless_speech_is_cut_and_a_stream_can_end_in_mid_word() {
        let mut endpointer = Endpointer::new();
        let found = endpointer.push(&vowel(30 * SAMPLE_RATE_HZ));
        assert!(
            matches!(
                found.as_slice(),
                [Endpoint::Began, Endpoint::Ended(_), Endpoint::Began]
            ),
            "{}",
            found.len()
        );
        assert!(matches!(endpointer.finish(), Some(Endpoint::Ended(_))));
        assert_eq!(endpointer.finish(), None);
    }
}
