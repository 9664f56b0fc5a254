//! The past: in columns, by segment, and as a recording.

use super::*;

#[tokio::test]
async fn the_past_is_told_in_columns_and_bars() {
    let (app, _) = local();
    beat(&app, "a");
    app.view.write().sample(1_000);
    let (_, series) = get(&app, "/api/v1/series").await;
    assert_eq!(series["t_ms"], json!([]), "that second was long ago");
    let now_ms = app.now_ms();
    app.view.write().sample(now_ms);
    let (_, series) = get(&app, "/api/v1/series?window_s=10").await;
    assert_eq!((series["t_ms"].as_array().unwrap().len(), &series["nodes_alive"]), (1, &json!([1])));
    let (status, history) = get(&app, "/api/v1/nodes/a/history").await;
    assert_eq!((status, &history["every_ms"]), (StatusCode::OK, &json!(2_000)));
    assert_eq!(get(&app, "/api/v1/nodes/zzz/history").await.0, StatusCode::NOT_FOUND);

    let placed = ClusterEvent {
        job: Some(JobId::new(1, 1)),
        attempt: Some(faultline_engine::job::AttemptId::new(1, 1)),
        node: Some("a".into()),
        ..ClusterEvent::new(now_ms, "scheduler", Level::Info, EventKind::JobPlaced, "")
    };
    app.view.write().on_event(event_seq(1, 0), placed);
    app.view.write().jobs.on_open(marker(1));
    let (_, timeline) = get(&app, "/api/v1/timeline?nodes=a").await;
    assert_eq!((&timeline["bars"][0]["name"], &timeline["bars"][0]["outcome"]), (&json!("job-1"), &json!("running")));
    let (_, trace, headers) = send(&app, request("GET", "/api/v1/timeline/trace.json").body(Body::empty()).unwrap()).await;
    assert!(headers[header::CONTENT_DISPOSITION].to_str().unwrap().contains("attachment"));
    assert_eq!((&trace["displayTimeUnit"], &trace["traceEvents"][0]["args"]["name"]), (&json!("ms"), &json!("w")));
}

#[tokio::test]
async fn the_past_is_listed_and_read_by_segment() {
    let (app, _) = local();
    assert_eq!(get(&app, "/api/v1/past").await.1["segments"], json!([]));
    for second in 0..70 {
        beat(&app, "a");
        let taken = Taken::of(&app.view, 1_000_000 + second * 1_000, app.cluster.nats(), 0, second);
        app.past.write(|past| past.push(&taken));
    }
    let (id, plain) = app.past.read(|past| past.complete()).unwrap();
    app.past.write(|past| past.pack(&id, crate::compress::gzip(&plain, 6).unwrap()));
    let (_, kept) = get(&app, "/api/v1/past").await;
    assert_eq!((&kept["from_ms"], &kept["to_ms"]), (&json!(1_000_000), &json!(1_069_000)), "{kept}");
    let ids: Vec<&str> = kept["segments"].as_array().unwrap().iter().map(|segment| segment["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1000-1000000", "1000-1060000", "10000-1000000"]);
    for (encoding, is_packed) in [("gzip", true), ("identity", false)] {
        let asked = request("GET", "/api/v1/past/1000-1000000").header(header::ACCEPT_ENCODING, encoding).body(Body::empty()).unwrap();
        let answer = router(app.clone()).oneshot(asked).await.unwrap();
        assert_eq!((answer.status(), answer.headers().contains_key(header::CONTENT_ENCODING)), (StatusCode::OK, is_packed));
        let bytes = to_bytes(answer.into_body(), 1 << 24).await.unwrap();
        assert_eq!(if is_packed { crate::compress::gunzip(&bytes).unwrap() } else { bytes.to_vec() }, *plain);
    }
    let (status, body) = get(&app, "/api/v1/past/1000-5").await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test]
async fn a_recording_holds_the_stretch_and_no_secret() {
    const SECRET: &str = "0123456789abcdef-secret";
    let admission = Admission { owner: false, token: Some(Token::new(SECRET).unwrap()) };
    let (app, _, _) = app(Guard::new("0.0.0.0:8080".parse().unwrap(), admission));
    let signing_in = Request::post("/api/v1/session").header(header::CONTENT_TYPE, "application/json");
    let body = json!({ "token": SECRET }).to_string();
    let signed_in = router(app.clone()).oneshot(signing_in.header(header::HOST, "x:8080").body(Body::from(body)).unwrap()).await.unwrap();
    let cookie = signed_in.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let asked = |path: &str| Request::get(path).header(header::HOST, "x:8080").header(header::COOKIE, &cookie).body(Body::empty()).unwrap();
    let nothing = router(app.clone()).oneshot(asked("/api/v1/recording")).await.unwrap();
    let now_ms = app.now_ms();
    for second in 0..70 {
        beat(&app, "gpu-node-07");
        let taken = Taken::of(&app.view, now_ms - 100_000 + second * 1_000, app.cluster.nats(), 0, second);
        app.past.write(|past| past.push(&taken));
    }
    let answer = router(app.clone()).oneshot(asked("/api/v1/recording?last_ms=600000")).await.unwrap();
    if answer.status() == StatusCode::NOT_IMPLEMENTED {
        // Built without the page: there is nothing to put a recording into.
        assert_eq!(nothing.status(), StatusCode::NOT_IMPLEMENTED);
        return;
    }
    assert_eq!((nothing.status(), answer.status()), (StatusCode::NOT_FOUND, StatusCode::OK));
    assert!(answer.headers()[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment; filename=\"faultline-recording-"));
    let file = String::from_utf8(to_bytes(answer.into_body(), 1 << 24).await.unwrap().to_vec()).unwrap();
    let lines = file.split_once("id=\"recording\">").unwrap().1.split("</script>").next().unwrap();
    let unpacked = lines.lines().map(|line| crate::compress::gunzip(&STANDARD.decode(line).unwrap()).unwrap());
    let parts: Vec<String> = unpacked.map(|part| String::from_utf8_lossy(&part).into_owned()).collect();
    let answers: Value = serde_json::from_str(&parts[0]).unwrap();
    assert_eq!((parts.len(), answers["kept"]["segments"].as_array().unwrap().len()), (3, 2));
    assert!(parts[1].contains("gpu-node-07") && parts[1].contains("\"type\":\"hello\""));
    let session = cookie.split_once('=').unwrap().1;
    for secret in [SECRET, session] {
        assert!(!file.contains(secret) && parts.iter().all(|part| !part.contains(secret)));
    }
}
