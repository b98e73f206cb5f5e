//! Microphone and loudspeaker: the only real-time code.
//!
//! The callbacks copy between device and ring and publish levels in atomics: no lock, no
//! allocation, no log. Mixing to mono happens while copying; sample rates are converted by whoever
//! reads [`Microphone`] or writes [`Speaker`], on its own thread.
//!
//! Every sample for the loudspeaker carries the generation it belongs to. [`Monitor::silence`]
//! starts a new one, and the callback throws older samples away: silence within one block.

use crate::job::CancelToken;
use crate::speech::resample::{ResampleError, Resampler};
use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, Device, ErrorKind, FromSample, Sample, SampleFormat, SizedSample, Stream,
    StreamConfig, SupportedBufferSize, SupportedStreamConfig,
};
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The sample rate that the microphone is read at.
const MICROPHONE_HZ: u32 = 16_000;
/// The sample rate that the loudspeaker is written at.
const SPEAKER_HZ: u32 = 24_000;
/// Frames in a device block. The server's own choice makes 2 to 4 s of delay with PulseAudio.
const BLOCK_FRAMES: std::ops::RangeInclusive<u32> = 480..=1024;
/// How much audio a ring holds.
const RING_SECS: u32 = 4;
/// How often a waiting writer looks again.
const POLL: Duration = Duration::from_millis(5);
/// What a device still has to play when the ring is empty.
const DEVICE_DELAY: Duration = Duration::from_millis(120);
/// A loudspeaker that takes nothing for so long has stalled.
const STALL: Duration = Duration::from_secs(2);

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// There is no microphone that can be opened.
    #[error("no microphone: {why}; talk can still read WAV files")]
    NoMicrophone {
        /// What the system says.
        why: String,
    },
    /// There is no loudspeaker that can be opened.
    #[error("no loudspeaker: {why}; talk can still write WAV files")]
    NoSpeaker {
        /// What the system says.
        why: String,
    },
    /// There is no device of this name.
    #[error("there is no {kind} called {name:?}; there is {}", if available.is_empty() { "none".to_owned() } else { available.join(", ") })]
    UnknownDevice {
        /// "microphone" or "loudspeaker".
        kind: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        available: Vec<String>,
    },
    /// The device's sample rate cannot be converted.
    #[error(transparent)]
    Resample(#[from] ResampleError),
}

/// A device by the name that [`LiveAudio::open`] takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceName {
    /// Stays the same when the program starts again.
    pub id: String,
    /// For people.
    pub name: String,
}

/// The devices of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// What can be listened to.
    pub microphones: Vec<DeviceName>,
    /// What can be played on.
    pub speakers: Vec<DeviceName>,
}

/// Lists microphones and loudspeakers; both lists are empty on a machine without sound.
#[must_use]
pub fn devices() -> Devices {
    let host = cpal::default_host();
    let named = |devices: Vec<Device>| devices.iter().map(device_name).collect();
    Devices {
        microphones: named(
            host.input_devices()
                .map(Iterator::collect)
                .unwrap_or_default(),
        ),
        speakers: named(
            host.output_devices()
                .map(Iterator::collect)
                .unwrap_or_default(),
        ),
    }
}

fn device_name(device: &Device) -> DeviceName {
    let name = device.description().map_or_else(
        |_| device.to_string(),
        |description| description.name().to_owned(),
    );
    DeviceName {
        id: device
            .id()
            .map_or_else(|_| name.clone(), |id| id.to_string()),
        name,
    }
}

/// Open devices. Dropping it closes them at once; [`Speaker::drain`] first.
pub struct LiveAudio {
    /// What is heard.
    pub microphone: Microphone,
    /// What is played on.
    pub speaker: Speaker,
    /// Levels and faults, for any thread.
    pub monitor: Monitor,
    /// The devices run as long as these live.
    pub streams: Streams,
}

/// The running device streams.
pub struct Streams {
    _input: Stream,
    _output: Stream,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LiveAudio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveAudio")
            .field("monitor", &self.monitor)
            .finish_non_exhaustive()
    }
}

/// What the callbacks publish.
#[derive(Debug, Default)]
struct Shared {
    input_level: AtomicU32,
    output_level: AtomicU32,
    input_heard: AtomicBool,
    overruns: AtomicU64,
    underruns: AtomicU64,
    /// Whether the writer is in the middle of something, so that an empty ring is a fault.
    writing: AtomicBool,
    generation: AtomicU32,
    /// Samples that left the ring, played or thrown away.
    consumed: AtomicU64,
    fault: OnceLock<String>,
    fault_reported: AtomicBool,
}

/// Levels and faults of open devices; clones see the same.
#[derive(Debug, Clone)]
pub struct Monitor(Arc<Shared>);

impl Monitor {
    /// The loudest sample of the newest block from the microphone, 0 to 1.
    #[must_use]
    pub fn input_level(&self) -> f32 {
        f32::from_bits(self.0.input_level.load(Ordering::Relaxed))
    }

    /// The loudest sample of the newest block to the loudspeaker, 0 to 1.
    #[must_use]
    pub fn output_level(&self) -> f32 {
        f32::from_bits(self.0.output_level.load(Ordering::Relaxed))
    }

    /// Whether the microphone ever gave anything but zeros: macOS gives zeros when it is not allowed.
    #[must_use]
    pub fn input_heard(&self) -> bool {
        self.0.input_heard.load(Ordering::Relaxed)
    }

    /// Blocks for which the loudspeaker's ring ran empty in mid-sentence.
    #[must_use]
    pub fn underruns(&self) -> u64 {
        self.0.underruns.load(Ordering::Relaxed)
    }

    /// Microphone samples that nobody read in time.
    #[must_use]
    pub fn overruns(&self) -> u64 {
        self.0.overruns.load(Ordering::Relaxed)
    }

    /// Stops what is being played, within one block, and refuses the rest of it.
    pub fn silence(&self) {
        self.0.generation.fetch_add(1, Ordering::Release);
    }

    /// The first fault of a device, given once; the devices must then be opened anew.
    #[must_use]
    pub fn take_fault(&self) -> Option<&str> {
        let fault = self.0.fault.get()?;
        (!self.0.fault_reported.swap(true, Ordering::AcqRel)).then_some(fault)
    }
}

/// The reading end of the microphone.
#[derive(Debug)]
pub struct Microphone {
    ring: Consumer<f32>,
    resampler: Resampler,
    raw: Vec<f32>,
}

impl Microphone {
    /// Appends what was heard since the last call: mono, 16 kHz. Does not wait.
    ///
    /// # Errors
    /// When the sample rate cannot be converted.
    pub fn read(&mut self, out_16k: &mut Vec<f32>) -> Result<(), ResampleError> {
        self.raw.clear();
        while let Ok(sample) = self.ring.pop() {
            self.raw.push(sample);
        }
        self.resampler.push(&self.raw, out_16k)
    }
}

/// The writing end of the loudspeaker.
#[derive(Debug)]
pub struct Speaker {
    ring: Producer<(u32, f32)>,
    device_hz: u32,
    shared: Arc<Shared>,
    generation: u32,
    /// Samples put into the ring.
    written: u64,
}

impl Speaker {
    /// Begins something new to say; what is written before the next [`Monitor::silence`] is played.
    pub fn begin(&mut self) {
        self.generation = self.shared.generation.load(Ordering::Acquire);
    }

    /// Plays mono audio at 24 kHz; waits while the ring is full. Returns early when it was silenced,
    /// `cancel` was set or the device stalled.
    ///
    /// # Errors
    /// When the sample rate cannot be converted.
    pub fn write(&mut self, audio_24k: &[f32], cancel: &CancelToken) -> Result<(), ResampleError> {
        let samples = Resampler::convert(audio_24k, SPEAKER_HZ, self.device_hz)?;
        let mut progress = Instant::now();
        for sample in samples {
            while self.ring.push((self.generation, sample)).is_err() {
                if self.is_stale() || cancel.is_cancelled() || progress.elapsed() > STALL {
                    self.shared.writing.store(false, Ordering::Release);
                    return Ok(());
                }
                // The ring is full, hence the device has enough to play meanwhile.
                self.shared.writing.store(true, Ordering::Release);
                std::thread::sleep(POLL);
            }
            progress = Instant::now();
            self.written += 1;
        }
        self.shared.writing.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits until everything was played, was silenced, `cancel` was set or the device stalled.
    pub fn drain(&mut self, cancel: &CancelToken) {
        self.shared.writing.store(false, Ordering::Release);
        let mut left = (self.written, Instant::now());
        loop {
            let consumed = self.shared.consumed.load(Ordering::Acquire);
            let now_left = self.written.saturating_sub(consumed);
            if now_left == 0 || cancel.is_cancelled() || self.is_stale() {
                break;
            }
            if now_left != left.0 {
                left = (now_left, Instant::now());
            } else if left.1.elapsed() > STALL {
                return;
            }
            std::thread::sleep(POLL);
        }
        if !self.is_stale() && !cancel.is_cancelled() {
            std::thread::sleep(DEVICE_DELAY);
        }
    }

    fn is_stale(&self) -> bool {
        self.shared.generation.load(Ordering::Acquire) != self.generation
    }
}

impl LiveAudio {
    /// Opens microphone and loudspeaker by name or id; the default ones without.
    ///
    /// # Errors
    /// When a device does not exist or cannot be opened.
    pub fn open(input: Option<&str>, output: Option<&str>) -> Result<Self, AudioError> {
        let host = cpal::default_host();
        let shared = Arc::new(Shared::default());

        let no_microphone = |why: String| AudioError::NoMicrophone { why };
        let microphones = || {
            host.input_devices()
                .map(Iterator::collect)
                .unwrap_or_default()
        };
        let device = choose("microphone", input, microphones, || {
            host.default_input_device()
        })?
        .ok_or_else(|| no_microphone("the system has none".to_owned()))?;
        let config = device
            .default_input_config()
            .map_err(|error| no_microphone(error.to_string()))?;
        let (producer, ring) = RingBuffer::new((config.sample_rate() * RING_SECS) as usize);
        let input_stream = open_input(&device, config, producer, &shared).map_err(no_microphone)?;
        let microphone = Microphone {
            ring,
            resampler: Resampler::new(config.sample_rate(), MICROPHONE_HZ)?,
            raw: Vec::new(),
        };

        let no_speaker = |why: String| AudioError::NoSpeaker { why };
        let speakers = || {
            host.output_devices()
                .map(Iterator::collect)
                .unwrap_or_default()
        };
        let device = choose("loudspeaker", output, speakers, || {
            host.default_output_device()
        })?
        .ok_or_else(|| no_speaker("the system has none".to_owned()))?;
        let config = device
            .default_output_config()
            .map_err(|error| no_speaker(error.to_string()))?;
        let (ring, consumer) = RingBuffer::new((config.sample_rate() * RING_SECS) as usize);
        let output_stream = open_output(&device, config, consumer, &shared).map_err(no_speaker)?;
        // Refuses an odd rate before anything is said.
        Resampler::new(SPEAKER_HZ, config.sample_rate())?;
        let speaker = Speaker {
            ring,
            device_hz: config.sample_rate(),
            shared: shared.clone(),
            generation: 0,
            written: 0,
        };

        input_stream
            .play()
            .map_err(|error| no_microphone(error.to_string()))?;
        output_stream
            .play()
            .map_err(|error| no_speaker(error.to_string()))?;
        Ok(Self {
            microphone,
            speaker,
            monitor: Monitor(shared),
            streams: Streams {
                _input: input_stream,
                _output: output_stream,
            },
        })
    }
}

/// The named device, or the default one.
fn choose(
    kind: &'static str,
    name: Option<&str>,
    all: impl FnOnce() -> Vec<Device>,
    default: impl FnOnce() -> Option<Device>,
) -> Result<Option<Device>, AudioError> {
    let Some(name) = name else {
        return Ok(default());
    };
    let named: Vec<(DeviceName, Device)> = all()
        .into_iter()
        .map(|device| (device_name(&device), device))
        .collect();
    let available = named
        .iter()
        .map(|(device, _)| device.name.clone())
        .collect();
    let found = named
        .into_iter()
        .find(|(device, _)| device.id == name || device.name == name);
    match found {
        Some((_, device)) => Ok(Some(device)),
        None => Err(AudioError::UnknownDevice {
            kind,
            name: name.to_owned(),
            available,
        }),
    }
}

/// The device's own rate and channels with a block of about 20 ms.
fn stream_config(config: SupportedStreamConfig) -> StreamConfig {
    let frames = (config.sample_rate() / 50).clamp(*BLOCK_FRAMES.start(), *BLOCK_FRAMES.end());
    let frames = match *config.buffer_size() {
        SupportedBufferSize::Range { min, max } => frames.clamp(min.min(max), max),
        SupportedBufferSize::Unknown => frames,
    };
    StreamConfig {
        buffer_size: BufferSize::Fixed(frames),
        ..config.config()
    }
}

/// Keeps the first fault; what does not stop the stream is no fault.
fn latch(shared: &Shared, error: &cpal::Error) {
    match error.kind() {
        ErrorKind::Xrun => {
            shared.underruns.fetch_add(1, Ordering::Relaxed);
        }
        ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied => {}
        _ => {
            shared.fault.get_or_init(|| error.to_string());
        }
    }
}

fn open_input(
    device: &Device,
    config: SupportedStreamConfig,
    ring: Producer<f32>,
    shared: &Arc<Shared>,
) -> Result<Stream, String> {
    match config.sample_format() {
        SampleFormat::F32 => input_stream::<f32>(device, config, ring, shared),
        SampleFormat::I16 => input_stream::<i16>(device, config, ring, shared),
        SampleFormat::I32 => input_stream::<i32>(device, config, ring, shared),
        SampleFormat::I24 => input_stream::<cpal::I24>(device, config, ring, shared),
        SampleFormat::U8 => input_stream::<u8>(device, config, ring, shared),
        SampleFormat::U16 => input_stream::<u16>(device, config, ring, shared),
        other => Err(format!("its samples are {other}, which cannot be read")),
    }
}

fn input_stream<T>(
    device: &Device,
    config: SupportedStreamConfig,
    mut ring: Producer<f32>,
    shared: &Arc<Shared>,
) -> Result<Stream, String>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = usize::from(config.channels()).max(1);
    let (status, faults) = (shared.clone(), shared.clone());
    let copy = move |block: &[T], _: &cpal::InputCallbackInfo| {
        let mut loudest = 0.0_f32;
        for frame in block.chunks_exact(channels) {
            let sample = frame
                .iter()
                .map(|&sample| f32::from_sample(sample))
                .sum::<f32>()
                / channels as f32;
            loudest = loudest.max(sample.abs());
            if ring.push(sample).is_err() {
                status.overruns.fetch_add(1, Ordering::Relaxed);
            }
        }
        status
            .input_level
            .store(loudest.to_bits(), Ordering::Relaxed);
        if loudest > 0.0 {
            status.input_heard.store(true, Ordering::Relaxed);
        }
    };
    device
        .build_input_stream(
            stream_config(config),
            copy,
            move |error| latch(&faults, &error),
            Some(STALL),
        )
        .map_err(|error| error.to_string())
}

fn open_output(
    device: &Device,
    config: SupportedStreamConfig,
    ring: Consumer<(u32, f32)>,
    shared: &Arc<Shared>,
) -> Result<Stream, String> {
    match config.sample_format() {
        SampleFormat::F32 => output_stream::<f32>(device, config, ring, shared),
        SampleFormat::I16 => output_stream::<i16>(device, config, ring, shared),
        SampleFormat::I32 => output_stream::<i32>(device, config, ring, shared),
        SampleFormat::I24 => output_stream::<cpal::I24>(device, config, ring, shared),
        SampleFormat::U8 => output_stream::<u8>(device, config, ring, shared),
        SampleFormat::U16 => output_stream::<u16>(device, config, ring, shared),
        other => Err(format!("its samples are {other}, which cannot be written")),
    }
}

fn output_stream<T>(
    device: &Device,
    config: SupportedStreamConfig,
    mut ring: Consumer<(u32, f32)>,
    shared: &Arc<Shared>,
) -> Result<Stream, String>
where
    T: SizedSample + FromSample<f32>,
{
    let channels = usize::from(config.channels()).max(1);
    let (status, faults) = (shared.clone(), shared.clone());
    let copy = move |block: &mut [T], _: &cpal::OutputCallbackInfo| {
        let mut loudest = 0.0_f32;
        let mut starved = false;
        for frame in block.chunks_mut(channels) {
            let sample = next_sample(&mut ring, &status).unwrap_or_else(|| {
                starved = true;
                0.0
            });
            loudest = loudest.max(sample.abs());
            frame.fill(T::from_sample(sample));
        }
        if starved && status.writing.load(Ordering::Acquire) {
            status.underruns.fetch_add(1, Ordering::Relaxed);
        }
        status
            .output_level
            .store(loudest.to_bits(), Ordering::Relaxed);
    };
    device
        .build_output_stream(
            stream_config(config),
            copy,
            move |error| latch(&faults, &error),
            Some(STALL),
        )
        .map_err(|error| error.to_string())
}

/// The next sample of the present generation; older ones are thrown away.
fn next_sample(ring: &mut Consumer<(u32, f32)>, status: &Shared) -> Option<f32> {
    let present = status.generation.load(Ordering::Acquire);
    while let Ok((generation, sample)) = ring.pop() {
        status.consumed.fetch_add(1, Ordering::Release);
        if generation == present {
            return Some(sample);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loudspeaker without a device.
    fn speaker() -> (Speaker, Consumer<(u32, f32)>, Monitor) {
        let shared = Arc::new(Shared::default());
        let (ring, consumer) = RingBuffer::new(1024);
        let speaker = Speaker {
            ring,
            device_hz: SPEAKER_HZ,
            shared: shared.clone(),
            generation: 0,
            written: 0,
        };
        (speaker, consumer, Monitor(shared))
    }

    #[test]
    fn an_interruption_throws_away_what_is_old_and_plays_what_is_new() {
        let (mut speaker, mut ring, monitor) = speaker();
        let cancel = CancelToken::new();
        speaker.begin();
        speaker.write(&[0.1; 100], &cancel).unwrap();
        assert_eq!(next_sample(&mut ring, &monitor.0), Some(0.1));
        monitor.silence();
        assert_eq!(next_sample(&mut ring, &monitor.0), None);
        speaker.write(&[0.2; 10], &cancel).unwrap();
        assert_eq!(
            next_sample(&mut ring, &monitor.0),
            None,
            "the rest of the interrupted answer"
        );
        speaker.begin();
        speaker.write(&[0.3; 10], &cancel).unwrap();
        assert_eq!(next_sample(&mut ring, &monitor.0), Some(0.3));
    }

    #[test]
    fn a_full_ring_does_not_hold_a_cancelled_writer() {
        let (mut speaker, _ring, _) = speaker();
        let cancel = CancelToken::new();
        cancel.cancel();
        speaker.begin();
        speaker.write(&[0.1; 5000], &cancel).unwrap();
        speaker.drain(&cancel);
    }

    #[test]
    fn a_fault_is_reported_once() {
        let (_, _, monitor) = speaker();
        assert_eq!(monitor.take_fault(), None);
        for _ in 0..3 {
            latch(&monitor.0, &cpal::Error::new(ErrorKind::StreamInvalidated));
            latch(&monitor.0, &cpal::Error::new(ErrorKind::Xrun));
        }
        assert!(monitor.take_fault().is_some());
        assert_eq!(monitor.take_fault(), None);
        assert_eq!(monitor.underruns(), 3);
    }
}
