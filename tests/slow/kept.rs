//! Work that is kept, in the real window: text goes to other programs and comes from them, and what was open is there
//! again after `kill -9`.

use super::window::{Picture, Running, Screen, screen};
use crate::required::required;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};
use whittle::project::Project;

/// Limit of each wait on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);
/// Where the prompt is typed.
const PROMPT: (usize, usize) = (700, 850);
/// The bits slider of the embedding of hearth: left of its handle, and its right end.
const SLIDER: ((usize, usize), (usize, usize)) = ((344, 163), (363, 163));
/// The button that restores what was left behind.
const RESTORE: (usize, usize) = (452, 480);

/// Thousands of anti-aliased texts and bars: an empty window has a handful.
fn is_drawn(picture: &Picture) -> bool {
    picture.colors() > 300
}

/// Waits until there is something.
fn wait<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LIMIT, "waited in vain for {what}");
        sleep(LOOK);
    }
}

impl Screen {
    /// Puts a text where other programs take it from.
    fn put(&self, text: &str) {
        let mut xclip = self
            .command("xclip")
            .args(["-in", "-selection", "clipboard"])
            .stdin(Stdio::piped())
            // It stays to hand the text out, and must not hold the test's own output open.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("xclip runs");
        let mut stdin = xclip.stdin.take().expect("a pipe");
        stdin.write_all(text.as_bytes()).expect("xclip reads");
        drop(stdin);
        assert!(xclip.wait().expect("xclip runs").success());
    }

    /// What other programs would take.
    fn taken(&self) -> String {
        let output = self
            .command("xclip")
            .args(["-out", "-selection", "clipboard"])
            .output()
            .expect("xclip runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn click(&self, (x, y): (usize, usize)) {
        self.xdotool(&format!("mousemove {x} {y} sleep 0.5 click 1 sleep 0.5"));
    }

    fn title(&self) -> String {
        let output = self
            .command("xdotool")
            .args(["search", "--name", "Whittle", "getwindowname"])
            .output()
            .expect("xdotool runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A window on hearth, which the program holds itself, that is drawn and has the keyboard.
    fn hearth(&self, home: &Path) -> Running {
        let mut studio = self.studio(home);
        let window = studio
            .env("WHITTLE_CACHE", home.join("cache"))
            .env("WHITTLE_HUB", "")
            .arg("hearth")
            .spawn();
        let window = Running(window.expect("the window starts"));
        self.settled(is_drawn);
        self.xdotool("search --name Whittle windowfocus");
        window
    }
}

#[test]
fn text_goes_to_other_programs_and_comes_from_them() {
    let Some(screen) = required(screen()) else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let _window = screen.hearth(home.path());
    screen.put("from another program");
    screen.click(PROMPT);
    screen.xdotool("key ctrl+v sleep 1 type !");
    screen.xdotool("sleep 1 key ctrl+a sleep 0.5 key ctrl+c");
    let expected = "from another program!";
    wait("the text of the field", || {
        (screen.taken() == expected).then_some(())
    });
}

#[test]
fn after_kill_9_the_same_recipe_is_open_again() {
    let Some(screen) = required(screen()) else {
        return;
    };
    let home = tempfile::tempdir().expect("a folder");
    let mut window = screen.hearth(home.path());
    wait("the title", || {
        (screen.title() == "New project – Whittle").then_some(())
    });
    let ((x, y), (end_x, end_y)) = SLIDER;
    screen.xdotool(&format!(
        "mousemove {x} {y} sleep 0.5 mousedown 1 sleep 0.5 mousemove {} {end_y} sleep 0.5 \
         mousemove {end_x} {end_y} sleep 0.5 mouseup 1 sleep 0.5 mousemove 700 880",
        (x + end_x) / 2
    ));
    wait("the mark of unsaved changes", || {
        (screen.title() == "New project* – Whittle").then_some(())
    });
    // The last change is on the disk a little after it was made.
    sleep(Duration::from_secs(3));
    let kept = wait("an autosave", || autosaves(home.path()).pop());
    let before = fs::read(&kept).expect("the autosave");
    let recipe = Project::open(&kept).expect("a project").a;
    assert!(recipe != Project::default().a, "the slider has moved");

    // SIGKILL: nothing is tidied up.
    window.0.kill().expect("the window is killed");
    window.0.wait().expect("the window is gone");
    let _again = screen.hearth(home.path());
    screen.click(RESTORE);
    let restored = wait("the restored project", || {
        autosaves(home.path())
            .into_iter()
            .find(|path| *path != kept)
    });
    wait("the old autosave to go", || (!kept.exists()).then_some(()));
    assert_eq!(fs::read(&restored).expect("the autosave"), before);
    let again = Project::open(&restored).expect("a project").a;
    assert_eq!(again.to_toml(), recipe.to_toml());
    assert_eq!(screen.title(), "New project* – Whittle");
}

/// Unsaved projects without a file of their own.
fn autosaves(home: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(home.join("whittle/unsaved"));
    let files = folder.into_iter().flatten().flatten().map(|e| e.path());
    files
        .filter(|path| path.extension().is_some_and(|e| e == "toml"))
        .collect()
}
