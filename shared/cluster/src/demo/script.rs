//! What the demo shows, and when it goes on. Pure: time is an argument, and what has become of the jobs is told to it.

use std::time::Duration;

use faultline_engine::words::plural;

/// A scene that is over in time may wait this long for its incident to be over, too.
const PATIENCE_MS: u64 = 30_000;
/// What dies stays dead for so long: the viewer must have time to see it.
pub(super) const RACK_DOWN: Duration = Duration::from_secs(8);
pub(super) const LEADER_DOWN: Duration = Duration::from_secs(6);
pub(super) const NATS_DOWN: Duration = Duration::from_secs(3);

/// What a scene breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// Nothing yet.
    Watch,
    Rack,
    Leader,
    Nats,
    /// The viewer breaks something.
    YourTurn,
}

pub(super) const SCENES: [Scene; 5] = [Scene::Watch, Scene::Rack, Scene::Leader, Scene::Nats, Scene::YourTurn];

/// What is shown beside the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caption {
    pub title: String,
    pub text: String,
}

/// What the words are about, as it was found on the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub nodes: usize,
    pub running: usize,
    /// The processes that this scene kills.
    pub targets: Vec<String>,
    /// The rack that this scene takes down, with its nodes.
    pub rack: String,
    pub rack_nodes: Vec<String>,
    /// How long a scene lasts.
    pub scene_s: u64,
}

impl Scene {
    pub fn caption(self, facts: &Facts) -> Caption {
        let targets = facts.targets.join(", ");
        let (title, text) = match self {
            Scene::Watch => (
                format!("{} run {}", plural(facts.nodes as u64, "node"), plural(facts.running as u64, "job")),
                format!(
                    "The GPUs are simulated; the processes, their connections, and what kills them are real. In {} s a rack dies.",
                    facts.scene_s
                ),
            ),
            Scene::Rack => (
                format!("{} dies", facts.rack),
                format!(
                    "kill -9 on {targets}, which hosts {}. Arcs show their jobs on the way to other nodes.",
                    facts.rack_nodes.join(" and ")
                ),
            ),
            Scene::Leader => (
                "The leading scheduler dies".to_owned(),
                format!(
                    "kill -9 on {targets}. Running jobs go on; the other scheduler leads once the lease has expired, and new jobs wait until then."
                ),
            ),
            Scene::Nats => (
                "NATS dies".to_owned(),
                format!("kill -9 on {targets}, the server that carries and stores every message. Jobs run on, and commit when it is back."),
            ),
            Scene::YourTurn => (
                "Your turn: press K".to_owned(),
                "K kills the worker that runs the most jobs, here and in the terminal. Ctrl-C there ends the demo.".to_owned(),
            ),
        };
        Caption { title, text }
    }
}

/// What the viewer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The next scene.
    Next,
    /// From the beginning.
    Again,
    /// The worker that runs the most jobs dies.
    Kill,
    Quit,
}

/// What the demo does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    /// A scene begins: its number, from 1.
    Begin(usize, Scene),
    /// It is `YourTurn`, and K was pressed.
    Kill,
    End,
}

/// Where the demo stands.
#[derive(Debug)]
pub(super) struct Script {
    /// The scene under way, from 0; none before the first.
    at: Option<usize>,
    since_ms: u64,
    scene_ms: u64,
    /// Without a viewer: the last scene is left out, and the demo ends when the others are over.
    alone: bool,
}

impl Script {
    pub(super) fn new(scene: Duration, alone: bool) -> Self {
        Self { at: None, since_ms: 0, scene_ms: u64::try_from(scene.as_millis()).unwrap_or(u64::MAX), alone }
    }

    fn scenes(&self) -> &'static [Scene] {
        if self.alone { &SCENES[..SCENES.len() - 1] } else { &SCENES }
    }

    pub(super) fn total(&self) -> usize {
        self.scenes().len()
    }

    /// `all_well`: everything that was broken has recovered.
    pub(super) fn next(&mut self, now_ms: u64, all_well: bool, wish: Option<Wish>) -> Option<Cue> {
        match wish {
            Some(Wish::Quit) => return Some(Cue::End),
            Some(Wish::Again) => return self.begin(0, now_ms),
            Some(Wish::Kill) if self.scene() == Some(Scene::YourTurn) => return Some(Cue::Kill),
            Some(Wish::Kill | Wish::Next) | None => {}
        }
        let Some(at) = self.at else { return self.begin(0, now_ms) };
        let lasted_ms = now_ms.saturating_sub(self.since_ms);
        let is_over = lasted_ms >= self.scene_ms && (all_well || lasted_ms >= self.scene_ms + PATIENCE_MS);
        // The last one stays until the viewer ends it.
        let goes_on = wish == Some(Wish::Next) || (is_over && self.scene() != Some(Scene::YourTurn));
        if goes_on { self.begin(at + 1, now_ms) } else { None }
    }

    fn scene(&self) -> Option<Scene> {
        self.at.and_then(|at| self.scenes().get(at)).copied()
    }

    fn begin(&mut self, at: usize, now_ms: u64) -> Option<Cue> {
        let Some(scene) = self.scenes().get(at) else {
            // Nothing comes after the last scene; alone, that is the end.
            return self.alone.then_some(Cue::End);
        };
        (self.at, self.since_ms) = (Some(at), now_ms);
        Some(Cue::Begin(at + 1, *scene))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENE: Duration = Duration::from_secs(15);

    fn begun(script: &mut Script, now_ms: u64, wish: Option<Wish>) -> Option<Scene> {
        match script.next(now_ms, true, wish) {
            Some(Cue::Begin(_, scene)) => Some(scene),
            _ => None,
        }
    }

    #[test]
    fn a_minute_of_scenes_and_then_it_is_your_turn() {
        let mut script = Script::new(SCENE, false);
        let begun: Vec<(u64, Scene)> =
            (0..100).filter_map(|second| begun(&mut script, second * 1_000, None).map(|scene| (second, scene))).collect();
        assert_eq!(begun, [(0, Scene::Watch), (15, Scene::Rack), (30, Scene::Leader), (45, Scene::Nats), (60, Scene::YourTurn)]);
        assert_eq!(script.total(), 5);
    }

    #[test]
    fn a_scene_waits_until_all_is_well_but_not_for_ever() {
        let mut script = Script::new(SCENE, false);
        script.next(0, true, None);
        script.next(15_000, true, None);
        assert_eq!(script.next(30_000, false, None), None);
        assert_eq!(script.next(41_000, true, None), Some(Cue::Begin(3, Scene::Leader)));
        assert_eq!(script.next(85_999, false, None), None);
        assert_eq!(script.next(86_000, false, None), Some(Cue::Begin(4, Scene::Nats)));
    }

    #[test]
    fn it_can_be_skipped_repeated_and_ended() {
        let mut script = Script::new(SCENE, false);
        script.next(0, true, None);
        assert_eq!(begun(&mut script, 1, Some(Wish::Next)), Some(Scene::Rack));
        assert_eq!(script.next(2, false, Some(Wish::Kill)), None, "it is not your turn yet");
        for (at_ms, scene) in [(3, Scene::Leader), (4, Scene::Nats), (5, Scene::YourTurn)] {
            assert_eq!(begun(&mut script, at_ms, Some(Wish::Next)), Some(scene));
        }
        assert_eq!(script.next(6, true, Some(Wish::Kill)), Some(Cue::Kill));
        assert_eq!(script.next(7, true, Some(Wish::Next)), None, "it is the last one");
        assert_eq!(script.next(8, true, Some(Wish::Again)), Some(Cue::Begin(1, Scene::Watch)));
        assert_eq!(script.next(9, true, Some(Wish::Quit)), Some(Cue::End));
    }

    #[test]
    fn alone_it_ends_by_itself() {
        let mut script = Script::new(Duration::from_millis(10), true);
        let cues: Vec<Cue> = (0..10).filter_map(|n| script.next(n * 10, true, None)).collect();
        assert_eq!(cues[4], Cue::End);
        assert_eq!(cues[..4].last(), Some(&Cue::Begin(4, Scene::Nats)));
        assert_eq!(script.total(), 4);
    }

    #[test]
    fn captions_name_what_really_dies() {
        let facts = Facts {
            nodes: 64,
            running: 190,
            targets: vec!["worker-07".into()],
            rack: "rack-7".into(),
            rack_nodes: vec!["gpu-node-13".into(), "gpu-node-14".into()],
            scene_s: 15,
        };
        assert_eq!(Scene::Watch.caption(&facts).title, "64 nodes run 190 jobs");
        let rack = Scene::Rack.caption(&facts);
        assert_eq!(rack.title, "rack-7 dies");
        assert!(rack.text.starts_with("kill -9 on worker-07, which hosts gpu-node-13 and gpu-node-14."), "{}", rack.text);
        for scene in SCENES {
            let Caption { title, text } = scene.caption(&facts);
            assert!(!title.is_empty() && title.len() < 60 && text.len() < 200, "{title}: {text}");
        }
    }
}
