//! A PulseAudio server of its own, with a loudspeaker and a microphone that are only pipes.
//!
//! What is played on `micfeed` is heard by the microphone `vmic`; what is played on the
//! loudspeaker `spk` can be recorded from its monitor. Needs Debian's `pulseaudio` and
//! `pulseaudio-utils`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use whittle::voice::wav;

const SCRIPT: &str = "\
load-module module-native-protocol-unix socket=RUNTIME/native auth-anonymous=1
load-module module-null-sink sink_name=spk rate=48000 channels=1
load-module module-null-sink sink_name=micfeed rate=48000 channels=1
load-module module-remap-source master=micfeed.monitor source_name=vmic
set-default-sink spk
set-default-source vmic
";

/// A running server; it ends when this is dropped.
pub(crate) struct SoundServer {
    server: Child,
    runtime: tempfile::TempDir,
}

impl SoundServer {
    /// Starts a server and waits until it answers.
    pub(crate) fn start() -> Self {
        let runtime = tempfile::tempdir().expect("a temporary folder");
        let script = runtime.path().join("script.pa");
        let text = SCRIPT.replace("RUNTIME", &runtime.path().display().to_string());
        std::fs::write(&script, text).expect("the script is written");
        let server = Command::new("pulseaudio")
            .args(["-n", "-F"])
            .arg(&script)
            .args([
                "--daemonize=no",
                "--exit-idle-time=-1",
                "--use-pid-file=no",
                "--disable-shm=yes",
            ])
            .args(["--realtime=no", "--high-priority=no"])
            .env("PULSE_RUNTIME_PATH", runtime.path())
            .env("XDG_RUNTIME_DIR", runtime.path())
            .env("HOME", runtime.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("install pulseaudio and pulseaudio-utils");
        let server = Self { server, runtime };
        let begun = Instant::now();
        while !server
            .command("pactl")
            .arg("info")
            .output()
            .is_ok_and(|output| output.status.success())
        {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the sound server does not answer"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// What `PULSE_SERVER` must be to reach it.
    pub(crate) fn address(&self) -> String {
        format!("unix:{}", self.runtime.path().join("native").display())
    }

    /// A command that talks to this server.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("PULSE_SERVER", self.address())
            .env("HOME", self.runtime.path());
        command
    }

    /// Writes a WAV file to speak: `audio`, mono at 16 kHz, between two short silences.
    pub(crate) fn question(&self, audio: &[f32]) -> PathBuf {
        let path = self.runtime.path().join("question.wav");
        let silence = [0.0; 8000];
        let samples = [&silence, audio, &silence].concat();
        wav::write(
            &path,
            &wav::Recording {
                samples,
                sample_rate_hz: 16_000,
            },
        )
        .expect("the question is written");
        path
    }

    /// Speaks a WAV file into the microphone; returns once it was played.
    pub(crate) fn speak(&self, wav: &Path) {
        let status = self
            .command("paplay")
            .arg("--device=micfeed")
            .arg(wav)
            .status()
            .expect("paplay runs");
        assert!(status.success(), "paplay {}", wav.display());
    }

    /// Records the loudspeaker until the recording is stopped.
    pub(crate) fn record(&self) -> SpeakerRecording {
        let path = self.runtime.path().join("speaker.raw");
        let file = std::fs::File::create(&path).expect("the recording is created");
        let parec = self
            .command("parec")
            .args([
                "--device=spk.monitor",
                "--rate=16000",
                "--channels=1",
                "--format=s16le",
                "--latency-msec=50",
            ])
            .stdout(file)
            .spawn()
            .expect("parec runs");
        SpeakerRecording { parec, path }
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        end(&mut self.server);
    }
}

/// A recording of the loudspeaker, 16-bit mono at 16 kHz.
pub(crate) struct SpeakerRecording {
    parec: Child,
    path: PathBuf,
}

impl SpeakerRecording {
    /// Stops and returns what was played, -1 to 1.
    pub(crate) fn stop(mut self) -> Vec<f32> {
        end(&mut self.parec);
        let bytes = std::fs::read(&self.path).expect("the recording is there");
        bytes
            .chunks_exact(2)
            .map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0)
            .collect()
    }
}

impl Drop for SpeakerRecording {
    fn drop(&mut self) {
        end(&mut self.parec);
    }
}

/// Ends one child, by its id.
fn end(child: &mut Child) {
    // It may have ended by itself.
    drop(child.kill());
    drop(child.wait());
}
