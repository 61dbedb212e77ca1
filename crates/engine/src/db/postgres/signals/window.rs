//! Values that only grow, over the last seconds on the server's clock.

use std::collections::VecDeque;

/// Readings of a counter with their times.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<(f64, f64)>);

impl Window {
    /// Adds a reading and forgets what lies further back than `seconds`, but
    /// for the one that the window begins with. Returns by how much the
    /// counter has grown in which time.
    ///
    /// A counter that fell (statistics were reset, the server was restored)
    /// begins anew.
    pub(super) fn grown(&mut self, at: f64, value: f64, seconds: f64) -> (f64, f64) {
        if self
            .0
            .back()
            .is_some_and(|(last, known)| value < *known || at < *last)
        {
            self.0.clear();
        }
        self.0.push_back((at, value));
        while self.0.len() > 2 && self.0[1].0 <= at - seconds {
            self.0.pop_front();
        }
        // A pause between two scans is longer than the window.
        if self.0.len() == 2 && self.0[0].0 < at - 2.0 * seconds {
            self.0.pop_front();
        }
        let (began, first) = self.0[0];
        (value - first, at - began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: (f64, f64), wanted: (f64, f64)) {
        assert!(
            (found.0 - wanted.0).abs() < 1e-9 && (found.1 - wanted.1).abs() < 1e-9,
            "{found:?} is not {wanted:?}"
        );
    }

    #[test]
    fn growth_is_over_the_window_and_begins_anew() {
        let mut window = Window::default();
        close(window.grown(100.0, 10.0, 5.0), (0.0, 0.0));
        close(window.grown(102.0, 30.0, 5.0), (20.0, 2.0));
        close(window.grown(104.0, 30.0, 5.0), (20.0, 4.0));
        close(window.grown(107.0, 40.0, 5.0), (10.0, 5.0));
        // Reset.
        close(window.grown(108.0, 1.0, 5.0), (0.0, 0.0));
        close(window.grown(110.0, 3.0, 5.0), (2.0, 2.0));
        // A long pause: what was written meanwhile says nothing about now.
        close(window.grown(200.0, 900.0, 5.0), (0.0, 0.0));
    }
}
