//! Where GPU time went.

use super::*;

#[tokio::test]
async fn a_window_is_an_hour_or_less_in_rows_of_ten_seconds() {
    let (app, cluster) = local();
    let (status, body) = get(&app, "/api/v1/goodput?last_ms=60000").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!((body["classes"].as_array().map(Vec::len), &body["gpu_seconds"]), (Some(22), &json!(0.0)));
    for query in ["last_ms=9999", "last_ms=3600001", "last_ms=an-hour", "last=60000"] {
        let (status, body) = get(&app, &format!("/api/v1/goodput?{query}")).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{query}: {body}");
    }
    // What was stored last is there without a leader as well.
    cluster.silent.store(true, Ordering::Relaxed);
    assert_eq!(get(&app, "/api/v1/goodput").await.0, StatusCode::OK);
}
