//! What can be done about the selected row, and the question that is asked first. Pure.

use faultline_cluster::up::signal::KillSignal;
use faultline_engine::fault::FaultKind;
use faultline_engine::job::JobId;
use faultline_protocol::messages::{JobView, NodeView};

/// What an operator orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// A simulated fault of a node.
    Break {
        node: String,
        kind: FaultKind,
    },
    /// Ends what is broken about a node.
    Restore {
        node: String,
    },
    /// To a process of the running `up`.
    Signal {
        process: String,
        signal: KillSignal,
    },
    Drain {
        node: String,
    },
    Undrain {
        node: String,
    },
    Cancel {
        job: JobId,
    },
}

/// A question with what may be answered. Anything but one of the letters does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialog {
    pub(crate) question: String,
    pub(crate) choices: Vec<Choice>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) letter: char,
    pub(crate) text: String,
    order: Order,
}

impl Dialog {
    pub(crate) fn choice(&self, letter: char) -> Option<Order> {
        self.choices.iter().find(|choice| choice.letter == letter).map(|choice| choice.order.clone())
    }

    /// Enter is yes only where there is nothing to choose.
    pub(crate) fn only_choice(&self) -> Option<Order> {
        match self.choices.as_slice() {
            [only] => Some(only.order.clone()),
            _ => None,
        }
    }
}

fn choice(letter: char, text: String, order: Order) -> Choice {
    Choice { letter, text, order }
}

/// `k`, `f` and `d` on a node.
pub(crate) fn about_node(letter: char, node: &NodeView) -> Option<Dialog> {
    let (name, worker) = (&node.spec.node, &node.spec.worker);
    let break_it = |kind| Order::Break { node: name.clone(), kind };
    let signal = |signal| Order::Signal { process: worker.clone(), signal };
    match letter {
        'k' => Some(Dialog {
            question: format!("Kill {name}?"),
            choices: vec![
                choice('1', format!("crash the node {name} for 10 s (simulated)"), break_it(FaultKind::Crash)),
                choice('2', format!("kill -9 the process {worker} with all its nodes; `up` starts it again"), signal(KillSignal::Kill)),
            ],
        }),
        'f' => Some(Dialog {
            question: format!("Freeze {name}?"),
            choices: vec![
                choice('1', format!("hang the node {name} for 10 s (simulated)"), break_it(FaultKind::Hang)),
                choice('2', format!("stop the process {worker} with all its nodes (SIGSTOP)"), signal(KillSignal::Stop)),
                choice('3', format!("resume the process {worker} (SIGCONT)"), signal(KillSignal::Cont)),
                choice('4', format!("end the faults of the node {name}"), Order::Restore { node: name.clone() }),
            ],
        }),
        'd' if node.draining => Some(Dialog {
            question: format!("Undrain {name}?"),
            choices: vec![choice('y', "place jobs there again".to_owned(), Order::Undrain { node: name.clone() })],
        }),
        'd' => Some(Dialog {
            question: format!("Drain {name}?"),
            choices: vec![choice('y', "no new jobs; running jobs finish".to_owned(), Order::Drain { node: name.clone() })],
        }),
        _ => None,
    }
}

/// `c` on a job.
pub(crate) fn about_job(letter: char, job: &JobView) -> Option<Dialog> {
    (letter == 'c').then(|| Dialog {
        question: format!("Cancel {}?", job.name),
        choices: vec![choice('y', format!("cancel the {} job {}", job.state.as_str(), job.id), Order::Cancel { job: job.id })],
    })
}
