//! How fast memory grows: the straight line that fits the measured seconds best, so that no single one of them decides.

/// Resident memory over the measured time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Growth {
    pub(crate) begin_mib: f64,
    pub(crate) over_time_mib: f64,
    pub(crate) an_hour_mib: f64,
}

/// Of values in KiB, one a second.
pub(crate) fn of(rss_kib: &[i64]) -> Growth {
    let count = rss_kib.len().max(1) as f64;
    let mib = |kib: &i64| *kib as f64 / 1024.0;
    let (middle_s, middle_mib) = ((count - 1.0) / 2.0, rss_kib.iter().map(mib).sum::<f64>() / count);
    let (mut together, mut seconds) = (0.0, 0.0);
    for (second, kib) in rss_kib.iter().enumerate() {
        let away_s = second as f64 - middle_s;
        together += away_s * (mib(kib) - middle_mib);
        seconds += away_s * away_s;
    }
    let mib_per_s = if seconds > 0.0 { together / seconds } else { 0.0 };
    Growth { begin_mib: middle_mib - mib_per_s * middle_s, over_time_mib: mib_per_s * (count - 1.0), an_hour_mib: mib_per_s * 3_600.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_told_from_noise() {
        let leak: Vec<i64> = (0..121).map(|second| 102_400 + second * 1_024 + (second % 7) * 50).collect();
        let growth = of(&leak);
        assert!((growth.over_time_mib - 120.0).abs() < 0.5 && (growth.an_hour_mib - 3_600.0).abs() < 15.0, "{growth:?}");
        assert!((growth.begin_mib - 100.0).abs() < 0.5);
        let noise: Vec<i64> = (0..120).map(|second| 102_400 + (second * 37 % 11) * 100).collect();
        assert!(of(&noise).over_time_mib.abs() < 0.2);
        assert_eq!(of(&[]), Growth { begin_mib: 0.0, over_time_mib: 0.0, an_hour_mib: 0.0 });
    }
}
