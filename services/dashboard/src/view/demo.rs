//! What `faultline demo` shows, with what the fold of incidents says of it.

use faultline_protocol::messages::DemoScene;
use serde::Serialize;
use utoipa::ToSchema;

use super::View;

/// The page is wide, and the texts are the demo's own; others are cut.
const MAX_TITLE_CHARS: usize = 80;
const MAX_TEXT_CHARS: usize = 300;

/// The demo that runs on this cluster, if one does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct DemoState {
    pub(crate) scene: Option<DemoScene>,
    /// Jobs that were interrupted since it began.
    pub(crate) interrupted: u32,
    /// Of those: placed again, or ended.
    pub(crate) moved: u32,
}

fn clipped(text: &str, most: usize) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(most).collect()
}

impl View {
    pub(crate) fn on_demo(&mut self, scene: Option<DemoScene>) {
        self.demo = scene.map(|scene| DemoScene {
            title: clipped(&scene.title, MAX_TITLE_CHARS),
            text: clipped(&scene.text, MAX_TEXT_CHARS),
            ..scene
        });
    }

    pub(crate) fn demo(&self) -> DemoState {
        let Some(scene) = &self.demo else { return DemoState::default() };
        let tally = self.incidents.tally(scene.since_ms);
        DemoState { scene: Some(scene.clone()), interrupted: tally.interrupted, moved: tally.moved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scene_stands_until_the_demo_is_over_and_its_texts_are_texts() {
        let mut view = View::new(0);
        assert_eq!(view.demo(), DemoState::default());
        let scene = DemoScene { number: 1, of: 5, title: "t\u{7}".repeat(90), text: "x".repeat(900), since_ms: 7, your_turn: false };
        view.on_demo(Some(scene));
        let shown = view.demo().scene.unwrap();
        assert_eq!((shown.title, shown.text.len()), ("t".repeat(80), 300));
        view.on_demo(None);
        assert_eq!(view.demo().scene, None);
    }
}
