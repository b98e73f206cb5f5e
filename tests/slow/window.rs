//! The real window on a virtual display, with SmolLM2: a slider is dragged and undone.

use crate::models::installed;
use crate::required::required;
use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use whittle::catalog::Cache;

/// Size of the virtual screen, and of the window.
const SIZE: (usize, usize) = (1400, 900);
/// Limit of each wait on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two looks at the screen.
const LOOK: Duration = Duration::from_millis(700);
/// The slider of the embedding's bits: left of its handle at 8 bits, and its right end.
const SLIDER: ((usize, usize), (usize, usize)) = ((344, 163), (363, 163));
/// Where bytes and bits per weight of candidate A are written: left, top, right, bottom.
const METER: (usize, usize, usize, usize) = (330, 36, 560, 58);

/// A process that ends with the test.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The pixels of the screen, three bytes each.
pub(super) struct Picture(Vec<u8>);

impl Picture {
    fn part(&self, (left, top, right, bottom): (usize, usize, usize, usize)) -> Vec<u8> {
        let row = |y: usize| &self.0[3 * (y * SIZE.0 + left)..3 * (y * SIZE.0 + right)];
        (top..bottom).flat_map(row).copied().collect()
    }

    pub(super) fn colors(&self) -> usize {
        self.0.chunks_exact(3).collect::<HashSet<_>>().len()
    }
}

pub(super) struct Screen {
    display: String,
    _server: Running,
}

impl Screen {
    fn start() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0"])
            .arg(format!("{}x{}x24", SIZE.0, SIZE.1))
            .args(["+extension", "GLX", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts");
        let stdout = server.stdout.take().expect("a pipe");
        let mut number = String::new();
        BufReader::new(stdout)
            .read_line(&mut number)
            .expect("the display's number");
        Self {
            display: format!(":{}", number.trim()),
            _server: Running(server),
        }
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DISPLAY", &self.display)
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    /// `whittle studio` on this screen, which neither reads nor leaves a window size.
    pub(super) fn studio(&self, home: &Path) -> Command {
        let cache = Cache::from_environment().expect("a cache folder");
        let mut command = self.command(env!("CARGO_BIN_EXE_whittle"));
        command
            .arg("studio")
            .env("LIBGL_ALWAYS_SOFTWARE", "1")
            .env("WHITTLE_CACHE", cache.folder)
            .env("XDG_DATA_HOME", home)
            .env("XDG_RUNTIME_DIR", home);
        command
    }

    pub(super) fn xdotool(&self, args: &str) {
        let status = self
            .command("xdotool")
            .args(args.split_whitespace())
            .status()
            .expect("xdotool runs");
        assert!(status.success(), "xdotool {args}");
    }

    fn picture(&self) -> Picture {
        let output = self
            .command("import")
            .args(["-window", "root", "-depth", "8", "rgb:-"])
            .output()
            .expect("import runs");
        assert_eq!(output.stdout.len(), 3 * SIZE.0 * SIZE.1);
        Picture(output.stdout)
    }

    /// The picture once two looks in a row are alike and `is_ready` agrees.
    pub(super) fn settled(&self, is_ready: impl Fn(&Picture) -> bool) -> Picture {
        let start = Instant::now();
        let mut last = self.picture();
        loop {
            sleep(LOOK);
            let picture = self.picture();
            if picture.0 == last.0 && is_ready(&picture) {
                return picture;
            }
            assert!(start.elapsed() < LIMIT, "the window does not settle");
            last = picture;
        }
    }
}

/// A screen, unless a tool is missing: then which.
pub(super) fn screen() -> Result<Screen, String> {
    let is_missing = |tool: &&str| Command::new(tool).arg("-version").output().is_err();
    match ["Xvfb", "xdotool", "import", "xclip"]
        .into_iter()
        .find(is_missing)
    {
        Some(tool) => Err(format!("{tool} is not installed")),
        None => Ok(Screen::start()),
    }
}

/// A screen, and a model in the cache to open on it.
fn screen_and_smollm2() -> Result<Screen, String> {
    installed("smollm2-135m")?;
    screen()
}

#[test]
fn a_slider_of_the_real_window_is_dragged_and_undone() {
    let Some(screen) = required(screen_and_smollm2()) else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let mut studio = screen.studio(home.path());
    let _window = Running(
        studio
            .arg("smollm2-135m")
            .spawn()
            .expect("the window starts"),
    );
    // Thousands of anti-aliased texts and bars: an empty window has a handful.
    let is_drawn = |picture: &Picture| picture.colors() > 300;
    let before = screen.settled(is_drawn);
    let meter = before.part(METER);

    let ((x, y), (end_x, end_y)) = SLIDER;
    screen.xdotool("search --name Whittle windowfocus");
    // Each step in a frame of its own: the window takes the last place of the pointer in a frame.
    screen.xdotool(&format!(
        "mousemove {x} {y} sleep 0.5 mousedown 1 sleep 0.5 mousemove {} {end_y} sleep 0.5 \
         mousemove {end_x} {end_y} sleep 0.5 mouseup 1 sleep 0.5 mousemove 700 880",
        (x + end_x) / 2
    ));
    let dragged = screen.settled(|picture| picture.part(METER) != meter);
    assert!(is_drawn(&dragged));

    screen.xdotool("key ctrl+z");
    let undone = screen.settled(|picture| picture.part(METER) == meter);
    assert!(is_drawn(&undone));
}

#[test]
fn the_window_opens_on_hearth_with_an_empty_cache_and_no_network() {
    let Some(screen) = required(screen()) else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let (cache, path) = (home.path().join("cache"), home.path().join("window.png"));
    let mut studio = screen.studio(home.path());
    let done = studio
        .env("WHITTLE_CACHE", &cache)
        .env("WHITTLE_HUB", "")
        .env("WHITTLE_PYTHON", "no-such-python")
        .args(["--ask", "Turn on the kitchen light!", "--screenshot"])
        .arg(&path)
        .output()
        .expect("whittle runs");
    // There is no picture without a model, nor before both candidates have answered.
    let sentence = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{sentence}");
    assert!(std::fs::metadata(&path).expect("a picture").len() > 50_000);
    assert!(!cache.join("models").exists(), "nothing was downloaded");
}

#[test]
fn a_screenshot_shows_the_whole_window_or_says_why_not() {
    let Some(screen) = required(screen_and_smollm2()) else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let path = home.path().join("window.png");
    let shoot = |model: &str| {
        let mut studio = screen.studio(home.path());
        let args = ["--ask", "Hello", "--screenshot"];
        studio.arg(model).args(args).arg(&path).output()
    };
    let failed = shoot("no-such.gguf").expect("whittle runs");
    let sentence = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        sentence.contains("no screenshot: cannot open no-such.gguf"),
        "{sentence}"
    );
    assert!(!path.exists());

    let done = shoot("smollm2-135m").expect("whittle runs");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    let file = std::fs::read(&path).expect("a picture");
    // Width and height in the first chunk of a PNG.
    let size = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!((size(16), size(20)), (1400, 900));
    assert!(file.len() > 50_000, "{} bytes: a blank window", file.len());
}
