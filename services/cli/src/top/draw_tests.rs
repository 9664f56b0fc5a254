use faultline_engine::node::Health;
use faultline_protocol::messages::JobState;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::samples::{NOW_MS, job, node, small, snapshot};
use super::super::state::{Input, Key};
use super::*;

fn top(snapshot: Snapshot) -> Top {
    let mut top = Top::new(1_000, "nats://127.0.0.1:4222".into());
    top.handle(Input::Looked(Ok(Box::new(snapshot))), NOW_MS);
    top
}

/// Compares with a file beside this one; `FAULTLINE_UPDATE_GOLDEN=1` writes it anew.
fn assert_picture(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/top/pictures").join(format!("{name}.txt"));
    if std::env::var_os("FAULTLINE_UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("{found}\n")).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(format!("{found}\n"), wanted, "the picture {name} differs: FAULTLINE_UPDATE_GOLDEN=1 writes it anew");
}

fn picture(top: &Top, width: u16, height: u16) -> String {
    faultline_runtime::times::show_utc(true);
    super::super::picture(top, width, height, NOW_MS)
}

#[test]
fn a_small_cluster_on_a_small_terminal() {
    assert_picture("small-80x24", &picture(&top(small()), 80, 24));
}

#[test]
fn a_wide_terminal_shows_more_columns() {
    let mut top = top(small());
    top.handle(Input::Key(Key::Tab), NOW_MS);
    assert_picture("wide-120x20", &picture(&top, 120, 20));
}

#[test]
fn the_question_stands_above_the_lists() {
    let mut top = top(small());
    top.handle(Input::Key(Key::Char('k')), NOW_MS);
    assert_picture("kill-80x24", &picture(&top, 80, 24));
}

#[test]
fn the_keys_fit_on_a_small_terminal() {
    let mut top = top(small());
    top.handle(Input::Key(Key::Char('?')), NOW_MS);
    assert_picture("help-80x24", &picture(&top, 80, 24));
}

#[test]
fn a_silent_nats_and_a_filter_are_said() {
    let mut top = top(small());
    top.handle(Input::Silence(Some(5_000)), NOW_MS);
    for key in "/dead".chars() {
        top.handle(Input::Key(Key::Char(key)), NOW_MS);
    }
    assert_picture("silent-80x24", &picture(&top, 80, 24));
}

#[test]
fn nothing_is_known_yet() {
    assert_picture("empty-80x24", &picture(&Top::new(1_000, "nats://127.0.0.1:4222".into()), 80, 24));
}

#[test]
fn of_a_thousand_nodes_those_around_the_selected_one_are_shown() {
    let nodes = (1..=1_000).map(|number| node(number, Health::Alive)).collect();
    let mut top = top(snapshot(nodes, vec![job(1, JobState::Queued)]));
    top.handle(Input::Key(Key::End), NOW_MS);
    let shown = picture(&top, 80, 24);
    assert!(shown.contains("gpu-node-1000") && !shown.contains("gpu-node-500 "), "{shown}");
    assert!(picture(&top, 80, whole_height(&top)).contains("gpu-node-500 "));
    let idle = self::top(snapshot(small().nodes, vec![]));
    let idle = picture(&idle, 80, whole_height(&idle));
    assert!(idle.contains("gpu-node-04"), "{idle}");
    assert_eq!(window(1_000, 999, 10), 990..1_000);
    assert_eq!(window(1_000, 500, 10), 495..505);
    assert_eq!(window(3, 2, 10), 0..3);
}

#[test]
fn any_size_can_be_drawn_and_colours_only_where_they_are_wanted() {
    let mut top = top(small());
    for (width, height) in [(1, 1), (10, 3), (20, 5), (79, 8), (300, 100)] {
        for key in [Key::Escape, Key::Char('?'), Key::Escape, Key::Char('k')] {
            top.handle(Input::Key(key), NOW_MS);
            picture(&top, width, height);
        }
        top.handle(Input::Key(Key::Escape), NOW_MS);
    }
    let painted = |has_color| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &top, Look { has_color }, NOW_MS)).unwrap();
        terminal.backend().buffer().content().iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(painted(true) && !painted(false));
}

#[test]
fn the_lists_share_the_room() {
    assert_eq!(nodes_height(19, 100, 100), 9);
    assert_eq!(nodes_height(19, 4, 100), 6);
    assert_eq!(nodes_height(19, 100, 2), 15);
}
