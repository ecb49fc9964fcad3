//! The ceiling on series is the same in every format.

use super::*;
use crate::metrics::catalog;

#[test]
fn past_the_ceiling_series_are_counted_and_left_out() {
    for format in MetricsFormat::ALL {
        let mut sheet = MetricsPage::new(format, catalog::LAG.len() + 2);
        sheet.family(&catalog::ITERATIONS);
        for name in ["a", "b"] {
            sheet.whole(&[name], 1);
        }
        // Its bounds, the infinite one, its sum and its count: three samples too many.
        sheet.family(&catalog::LAG_SECONDS);
        sheet.durations(&["a"], &HistogramValues::default());
        assert_eq!((sheet.samples(), sheet.left_out()), (2, 1), "{format:?}");
        assert!(sheet.has("loopscope_loop_iterations_total") && !sheet.has("loopscope_loop_lag_seconds"));
        let page = sheet.finish();
        let names = page.windows(4).filter(|part| *part == b"loop").count();
        assert!(names > 0, "{format:?}");
        assert!(!page.windows(3).any(|part| part == b"lag"), "{format:?}");
    }
}
