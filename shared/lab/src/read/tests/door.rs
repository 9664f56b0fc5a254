//! What is refused as a whole, and in which words.

use std::io::Write;

use super::*;

#[test]
fn formats_show_themselves_or_are_named() {
    let of = |text: &str| Format::of(&Source::new("FILE", text)).map_err(|error| error.to_string());
    assert_eq!(of("\n; Version: 2\n"), Ok(Format::Swf));
    assert_eq!(of("1 2 -1 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18\n"), Ok(Format::Swf));
    assert_eq!(of("\u{feff}submit_s,duration_s,gpu_milli\n"), Ok(Format::Jobs));
    assert_eq!(of("a|JobID|State"), Ok(Format::Sacct));
    assert_eq!(
        of("a,b\n"),
        Err("FILE has an unknown format: its first line is `a,b`; name the format: openb, swf, philly-csv, philly-json, helios, sacct, jobs".to_owned())
    );
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
        // Named, but something else: an error, whatever the format.
        assert!(jobs(&Source::new("FILE", "a,b\n1,2\n"), Some(format), &ReadSettings::default()).is_err(), "{format:?}");
        assert!(jobs(&Source::new("FILE", ""), Some(format), &ReadSettings::default()).is_err(), "{format:?}");
    }
    assert_eq!(
        "csv".parse::<Format>().unwrap_err(),
        "unknown format `csv`: use one of openb, swf, philly-csv, philly-json, helios, sacct, jobs"
    );
}

/// What `faultline lab formats` says of columns is what readers want.
#[test]
fn the_columns_of_a_format_are_those_that_its_reader_needs() {
    for format in Format::ALL.into_iter().filter(|format| !matches!(format, Format::Swf | Format::PhillyJson)) {
        let separator = if format == Format::Sacct { "|" } else { "," };
        let (needed, others) = format.columns();
        let header = [needed, others].concat().join(separator);
        assert_eq!(Format::of(&Source::new("FILE", header.as_str())), Ok(format));
        assert!(
            !error(&format!("{header}\n{}\n", separator.repeat(needed.len() + others.len() - 1))).contains("missing column"),
            "{format:?}"
        );
        for column in needed {
            let without: Vec<&str> = needed.iter().copied().filter(|name| name != column).collect();
            let read = jobs(&Source::new("FILE", without.join(separator)), Some(format), &ReadSettings::default());
            assert!(matches!(read, Err(ReadError::MissingColumn { .. })), "{format:?} without {column}");
        }
    }
}

#[test]
fn a_file_without_a_usable_row_says_why() {
    assert_eq!(
        error("submit_s,duration_s,gpu_milli\n0,x,1\n0,1,0\n"),
        "FILE contains no usable job: all 2 rows were dropped: a field cannot be read (1), asks for no GPU and no processor (1); the first bad row is \
         line 2, field `duration_s`: unexpected `x`; use seconds from 0 to 4000000000"
    );
    assert_eq!(error("submit_s,duration_s,gpu_milli\n"), "FILE has no rows behind its first line: add at least one");
    assert_eq!(
        error("submit_s,duration_s\n1,2\n"),
        "FILE, line 1: missing column `gpu_milli`: the first line has `submit_s,duration_s`; name the columns submit_s, duration_s, gpu_milli there"
    );
    let many = format!("submit_s,duration_s,gpu_milli\n0,1,1000\n{}", "0,-1,1\n".repeat(25));
    let report = read(&many).unwrap().report;
    assert_eq!((report.rows, report.used, report.bad_rows.len(), dropped(&report)), (26, 1, 10, vec![(Dropped::BadField, 25)]));
}

/// A value in the wrong column is worse than none.
#[test]
fn a_table_has_each_column_once_and_each_row_as_many_fields() {
    let twice = "submit_s,duration_s,gpu_milli,duration_s\n0,1,1000,2\n";
    assert_eq!(
        error(twice),
        "FILE, line 1: two columns are called `duration_s`, and which one is meant is unknown: rename one, or take it out"
    );
    let rows = "submit_s,duration_s,gpu_milli,user\n0,1,1000,a\n1,1,1000,b,1000\n2,1,1000\n3,1,1000,d,,\n4,1,1000,e\n";
    let report = read(rows).unwrap().report;
    assert_eq!((report.rows, report.used, dropped(&report)), (5, 3, vec![(Dropped::BadField, 2)]));
    let told: Vec<String> = report.bad_rows.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 3, field `(behind the last)`: the row has 5 fields, and the first line names 4; name all columns, and put quotes around what contains the separator",
            "line 4, field `user`: the row has 3 of 4 fields; complete the row; the file may have been cut"
        ]
    );
    let nodes = nodes(&Source::new("FILE", "name,gpus\na,8,9\n")).unwrap_err().to_string();
    assert!(nodes.starts_with("FILE, line 2, field `(behind the last)`: the row has 3 fields"), "{nodes}");
}

#[test]
fn lines_and_files_have_a_size_limit() {
    let long = format!("submit_s,duration_s,gpu_milli\n0,1,1000\n0,1,{}\n", "1".repeat(70_000));
    assert_eq!(error(&long), "FILE, line 3 cannot be read: it is longer than 64 KiB; correct that line, or check that the file is a table");
    let long = format!("; {}\n", "x".repeat(70_000));
    assert!(error(&long).contains("line 1 cannot be read: it is longer than 64 KiB"));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![b'x'; (1 << 20) + 1]).unwrap();
    let name = file.path().display().to_string();
    let told = |limit| Source::open_limited(file.path(), limit).unwrap_err().to_string().replace(&name, "FILE");
    assert_eq!(told(1 << 20), "FILE cannot be read: it is larger than 1 MiB; split it, or leave out columns");
    assert!(Source::open_limited(file.path(), 2 << 20).is_ok());
}

#[test]
fn a_file_that_cannot_be_opened_or_is_no_text_is_told() {
    let missing = Source::open(std::path::Path::new("/no/such/jobs.csv")).unwrap_err();
    assert_eq!(missing, ReadError::NotFound { file: "/no/such/jobs.csv".to_owned() });
    assert_eq!(missing.to_string(), "/no/such/jobs.csv cannot be read: the file does not exist; check the path");
    let folder = Source::open(std::path::Path::new("/")).unwrap_err().to_string();
    assert!(folder.starts_with("/ cannot be read: ") && folder.ends_with("; name a file that you may read"), "{folder}");
    let bytes = Source::from_bytes("FILE", b"a,b\n1,\xff\n".to_vec()).unwrap_err();
    assert_eq!(bytes.to_string(), "FILE, line 2 cannot be read: it is not UTF-8 text; save it as UTF-8");
}

#[test]
fn a_fill_refuses_the_first_bad_task() {
    let tasks = |text: &str| openb_tasks(&Source::new("FILE", text));
    let read = tasks("gpu_milli, num_gpu,x,memory_mib,cpu_milli\n 500 ,1,?,2,3\n").unwrap();
    assert_eq!((read.len(), read[0].cpu_milli, read[0].gpu_milli), (1, 3, 500));
    assert_eq!(
        tasks("cpu_milli,memory_mib,num_gpu,gpu_milli\n1,1,1,1\n1,1,1,0\n").unwrap_err().to_string(),
        "FILE, line 3, field `gpu_milli`: a task with a GPU takes nothing of it; use 1 to 1000, or 0 as `num_gpu`"
    );
    assert_eq!(tasks("cpu_milli,memory_mib,num_gpu,gpu_milli\n").unwrap_err(), ReadError::NoRows { file: "FILE".to_owned() });
}
