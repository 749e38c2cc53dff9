// The three parsers on small files that hold every trap of the real ones.
#include "catch.h"
#include "retort/core/error.h"
#include "retort/data/windowing.h"
#include "temp_directory.h"

#include <fmt/format.h>

using namespace retort;
using namespace retort_test;

namespace {

std::string refusal(std::string_view id, const std::filesystem::path& path) {
  return message_of<InputError>([&] { read_raw(id, path); });
}

std::string repeat(std::string_view line, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += line;
  return out;
}

std::string wisdm_line(int subject, char code, long long time, std::string_view values = "1.5,-2,7.48188E-4") {
  return fmt::format("{},{},{},{};\n", subject, code, time, values);
}

std::string mhealth_line(int label, std::string_view chest = "1\t2\t3", std::string_view arm = "7\t8\t9") {
  return fmt::format("{}\t0.1\t0.2\t4\t5\t6\t0\t0\t0\t0\t0\t0\t{}\t0\t0\t0\t0\t0\t0\t{}\n", chest, arm, label);
}

}  // namespace

TEST_CASE("sleep: both line formats, both line ends, names in any case") {
  const TempDirectory dir;
  dir.write("07_UpRight_nguc.txt", "0.00,1,2,3;\n0.02,4,5e-1,-6.25;\n");
  dir.write("sub/7b_x_LEFTDOWN_Co.TXT", "x,y,z\r\n1,2,3\r\n 4 , +5 ,6");  // no end of line at the end of the file
  dir.write("07_up_bung.txt",
            "\xEF\xBB\xBF"
            "0,1,1,1;\n\n   \n1,2,2,2;\n");  // a byte order mark, blank lines
  dir.write("README.txt", "nothing");
  dir.write("sub/notes_on_data.txt", "nothing");
  const RawDataset data = read_raw("sleep", dir.path());
  REQUIRE(data.recordings.size() == 3);
  CHECK(data.task1_names.size() == 12);
  CHECK(data.task2_names == std::vector<std::string>{"neck", "chest", "abdomen"});
  CHECK(data.nominal_hz == 50);
  CHECK_FALSE(data.synthetic);
  CHECK(data.report.ignored_files == 2);
  CHECK(data.report.skipped_lines == 0);
  CHECK(data.report.rows == 6);

  const Recording& timed = data.recordings[0];
  CHECK(data.sources[static_cast<std::size_t>(timed.source)].name == "07_UpRight_nguc.txt");
  CHECK(timed.xyz == std::vector<float>{1, 2, 3, 4, 0.5f, -6.25f});
  CHECK(timed.task1 == std::vector<std::int32_t>{1, 1});
  CHECK(timed.task2 == 1);
  CHECK(timed.subject == "07");
  CHECK(data.recordings[1].task1 == std::vector<std::int32_t>{0, 0});
  CHECK(data.recordings[1].task2 == 2);
  const Recording& headed = data.recordings[2];
  CHECK(headed.xyz == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(headed.task1 == std::vector<std::int32_t>{8, 8});
  CHECK(headed.task2 == 0);
  CHECK(headed.subject == "7b_x");
  CHECK(data.missing_task1().size() == 9);
  CHECK(data.missing_task2().empty());
}

TEST_CASE("sleep: all twelve postures have their label") {
  const TempDirectory dir;
  const std::vector<std::string> names = {"up",   "upright",  "rightup",  "right", "rightdown", "downright",
                                          "down", "downleft", "leftdown", "left",  "leftup",    "upleft"};
  for (const auto& name : names) dir.write("1_" + name + "_co.txt", "0,1,2,3;\n");
  const RawDataset data = read_raw("sleep", dir.path());
  REQUIRE(data.recordings.size() == 12);
  for (const Recording& recording : data.recordings) {
    const std::string& file = data.sources[static_cast<std::size_t>(recording.source)].name;
    CHECK(file == "1_" + names[static_cast<std::size_t>(recording.task1[0])] + "_co.txt");
  }
}

TEST_CASE("sleep: mistyped names are errors, not ignored files") {
  const TempDirectory dir;
  dir.write("07_up_co.txt", "0,1,2,3;\n");
  const auto wrong = dir.write("07_UpRihgt_nguc.txt", "0,1,2,3;\n");
  const std::string what = refusal("sleep", dir.path());
  CHECK(contains(what, "07_UpRihgt_nguc.txt: unknown posture 'uprihgt'"));
  CHECK(contains(what, "upright"));
  std::filesystem::remove(wrong);
  dir.write("07_up_nek.txt", "0,1,2,3;\n");
  CHECK(contains(refusal("sleep", dir.path()), "unknown position 'nek'"));
}

TEST_CASE("mhealth: three streams, chest then ankle then arm, subjects by number") {
  const TempDirectory dir;
  for (const int subject : {10, 2, 1})
    dir.write(fmt::format("mHealth_subject{}.log", subject),
              mhealth_line(0) + mhealth_line(12, fmt::format("{}  2e0 3", subject)));
  dir.write("mHealth_subjectX.log", "");
  const RawDataset data = read_raw("mhealth", dir.path());
  REQUIRE(data.recordings.size() == 9);
  const std::vector<std::string> subjects = {"1", "2", "10"};
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(data.recordings[i].task2 == static_cast<std::int32_t>(i / 3));
    CHECK(data.recordings[i].subject == subjects[i % 3]);
    CHECK(data.recordings[i].task1 == std::vector<std::int32_t>{0, 12});
  }
  CHECK(data.recordings[2].xyz == std::vector<float>{1, 2, 3, 10, 2, 3});
  CHECK(data.recordings[3].xyz == std::vector<float>{4, 5, 6, 4, 5, 6});
  CHECK(data.recordings[8].xyz == std::vector<float>{7, 8, 9, 7, 8, 9});
  CHECK(data.task1_names[0] == "Null");
  CHECK(data.report.ignored_files == 1);
}

TEST_CASE("mhealth: a sensor that is zero throughout is left out and noted") {
  const TempDirectory dir;
  dir.write("mHealth_subject1.log", repeat(mhealth_line(1, "1 2 3", "0 0 0"), 5));
  dir.write("mHealth_subject2.log", repeat(mhealth_line(2), 5));
  const RawDataset data = read_raw("mhealth", dir.path());
  CHECK(data.recordings.size() == 5);
  CHECK(data.report.zero_streams == 1);
  REQUIRE(data.report.notes.size() == 1);
  CHECK(data.report.notes[0] == "right arm: all zero in 1 of 2 files, left out");
  const TempDirectory zero;
  zero.write("mHealth_subject1.log", repeat("0 ", 23) + "1\n");
  CHECK(contains(refusal("mhealth", zero.path()), "all three accelerometers are zero"));
}

TEST_CASE("wisdm: exponents, no N, phone before watch, rates, missing activities") {
  const TempDirectory dir;
  std::string phone, watch;
  long long time = 252207666810782;
  const std::string codes = "ABCDEFGHIJKLMOPQRS";
  for (const char code : codes) {
    if (code == 'J') continue;
    for (int i = 0; i < 30; ++i) phone += wisdm_line(1607, code, time += 50'000'000);
    time += 90'000'000'000;
  }
  for (const char code : codes)
    for (int i = 0; i < 30; ++i) watch += wisdm_line(1607, code, time += code == 'A' ? 10'000'000 : 20'000'000);
  dir.write("raw/phone/accel/data_1607_accel_phone.txt", phone);
  dir.write("raw/watch/accel/data_1607_accel_watch.txt", watch);
  dir.write("raw/phone/gyro/data_1607_gyro_phone.txt", "not read");
  const RawDataset data = read_raw("wisdm", dir.path());
  REQUIRE(data.recordings.size() == 2);
  CHECK(data.recordings[0].task2 == 0);
  CHECK(data.recordings[1].task2 == 1);
  CHECK(data.recordings[0].subject == "1607");
  CHECK(data.recordings[0].xyz[2] == 7.48188e-4f);
  CHECK(data.recordings[0].time[0] == 0.0);
  CHECK(data.recordings[0].time[1] == Approx(0.05).epsilon(1e-9));
  CHECK(data.recordings[1].task1.front() == 0);
  CHECK(data.recordings[1].task1.back() == 17);
  REQUIRE(data.report.missing.size() == 1);
  CHECK(contains(data.report.missing[0].source, "1607_accel_phone"));
  CHECK(data.task1_names[static_cast<std::size_t>(data.report.missing[0].label)] == "Eating Pasta");
  CHECK(data.missing_task1().empty());
  CHECK(data.report.runs_by_rate == std::map<int, std::int64_t>{{20, 17}, {50, 17}, {100, 1}});
  CHECK(data.report.ignored_files == 1);
}

TEST_CASE("wisdm: a file that is there twice is noticed") {
  const TempDirectory dir;
  std::string once;
  for (int i = 0; i < 100; ++i) once += wisdm_line(1629, "AB"[i / 50], 1000 + 50'000'000ll * i, fmt::format("{},0,1", i * 0.5));
  dir.write("data_1629_accel_phone.txt", once + once);
  const RawDataset data = read_raw("wisdm", dir.path());
  CHECK(data.recordings[0].samples() == 200);
  CHECK(data.recordings[0].repeat_begin == 100);
  CHECK(data.report.repeated_rows == 100);
  dir.write("data_1629_accel_phone.txt", once);
  CHECK(read_raw("wisdm", dir.path()).report.repeated_rows == 0);
}

TEST_CASE("bad lines: few are counted, many are an error, lenient takes them") {
  const TempDirectory dir;
  const std::string good = wisdm_line(1600, 'A', 1000);
  const auto check_line = [&](const std::string& bad, const std::string& why) {
    CAPTURE(bad);
    const auto path = dir.write("data_1600_accel_phone.txt", repeat(good, 150) + bad + repeat(good, 49));
    const RawDataset data = read_raw("wisdm", dir.path());
    CHECK(data.report.skipped_lines == 1);
    CHECK(data.report.rows == 199);
    CHECK(data.report.first_skipped == fmt::format("{}:151: {}", path.string(), why));
    dir.write("data_1600_accel_phone.txt", repeat(good, 10) + bad + repeat(good, 9));
    CHECK(contains(refusal("wisdm", dir.path()),
                   fmt::format("{}:11: {}; 1 of 20 lines are bad, at most 1 % may be", path.string(), why)));
    CHECK(read_raw("wisdm", dir.path(), {.lenient = true}).report.skipped_lines == 1);
  };
  check_line("1600,A,10,1,2\n", "the line is cut short");
  check_line("1600,A,10,1,2,3\n", "the line is cut short");
  check_line("1600,A\n", "the activity is not one letter of A to S without N");
  check_line("1600,A,10,1,NaN,3;\n", "a value is not finite or far outside any sensor's range");
  check_line("1600,A,10,1,inf,3;\n", "a value is not finite or far outside any sensor's range");
  check_line("1600,A,10,1,1e30,3;\n", "a value is not finite or far outside any sensor's range");
  check_line("1600,A,10,1,abc,3;\n", "a value is not a number");
  check_line("1600,A,10,1,2,3,4;\n", "a column too many, or a wrong separator");
  check_line("1600,A,10,1,2,3;4\n", "more columns than the format has");
  check_line("1600,N,10,1,2,3;\n", "the activity is not one letter of A to S without N");
  check_line("1601,A,10,1,2,3;\n", "the line does not begin with the subject of the file's name");
  check_line("1600,A,x,1,2,3;\n", "the timestamp is not a whole number");
}

TEST_CASE("mhealth and sleep count bad lines too") {
  const TempDirectory dir;
  dir.write("mHealth_subject1.log", repeat(mhealth_line(1), 99) + "1 2 3\n" + mhealth_line(13) + mhealth_line(1, "1 x 3") + "1" +
                                        mhealth_line(1).substr(1, 40) + "\n" + repeat(mhealth_line(1), 400));
  const RawDataset data = read_raw("mhealth", dir.path());
  CHECK(data.report.skipped_lines == 4);
  CHECK(contains(data.report.first_skipped, "mHealth_subject1.log:100: the line is cut short"));
  const TempDirectory sleep;
  sleep.write("1_up_co.txt", "a,b,c\n" + repeat("1,2,3\n", 300) + "1,2\n1,2,3,4\n" + repeat("1,2,3\n", 300));
  const RawDataset nights = read_raw("sleep", sleep.path());
  CHECK(nights.report.skipped_lines == 2);
  CHECK(contains(nights.report.first_skipped, "1_up_co.txt:302: the line is cut short"));
}

TEST_CASE("files and directories that cannot be used are named") {
  const TempDirectory dir;
  CHECK(contains(refusal("sleep", dir / "none"), "none: no such file or directory"));
  CHECK(contains(refusal("sleep", dir.path()), "is named like 07_UpRight_nguc.txt"));
  CHECK(contains(refusal("unknown", dir.path()), "unknown data set 'unknown'"));
  const auto other = dir.write("other.csv", "1,2,3\n");
  CHECK(contains(refusal("wisdm", other), "the file should be named like data_1600_accel_phone.txt"));
  const auto empty = dir.write("data_1600_accel_phone.txt", "");
  CHECK(contains(refusal("wisdm", dir.path()), "the file is empty"));
  CHECK(contains(refusal("wisdm", empty), "the file is empty"));
  dir.write("data_1600_accel_phone.txt", "\n \n\r\n");
  CHECK(contains(refusal("wisdm", dir.path()), "holds no data line"));
  dir.write("data_1600_accel_phone.txt", "hello\nworld\n");
  CHECK(contains(refusal("wisdm", dir.path()), "data_1600_accel_phone.txt:1: "));
  CHECK(contains(refusal("wisdm", dir.path()), "not one of 2 lines can be used"));
  dir.write("data_1600_accel_phone.txt", wisdm_line(1600, 'A', 1));
  dir.write("copy/data_1600_accel_phone.txt", wisdm_line(1600, 'A', 1));
  CHECK(contains(refusal("wisdm", dir.path()), "a second file of this subject and device"));
  const TempDirectory odd;
  std::filesystem::create_directories(odd / "mHealth_subject1.log");
  CHECK(contains(refusal("mhealth", odd.path()), "mHealth_subject1.log: is a directory, a file is needed"));
  odd.write("1_up_co.txt", "t,x,y,z\n1,2,3,4\n");
  CHECK(contains(refusal("sleep", odd.path()), "1_up_co.txt:1: neither a row of numbers nor a header with three names"));
}

TEST_CASE("a single file is read, hashed and knows whether it is synthetic") {
  const TempDirectory dir;
  const auto path = dir.write("data_1600_accel_watch.txt", wisdm_line(1600, 'S', 1));
  RawDataset data = read_raw("wisdm", path);
  CHECK(data.recordings.size() == 1);
  CHECK_FALSE(data.synthetic);
  CHECK(data.sources[0].sha256.size() == 64);
  CHECK(data.sources[0].bytes == std::filesystem::file_size(path));
  CHECK(read_raw("wisdm", path, {.hashes = false}).sources[0].sha256.empty());
  dir.write("SYNTHETIC.txt", "made up");
  data = read_raw("wisdm", path);
  CHECK(data.synthetic);
  CHECK(read_raw("wisdm", dir.path()).synthetic);
  CHECK(read_raw("wisdm", dir.path()).report.ignored_files == 0);
  CHECK(sha256_of_file(dir.write("abc", "abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("csv: columns by name, recordings by subject and position, classes from all files") {
  const TempDirectory dir;
  dir.write("walk.csv",
            "\xEF\xBB\xBF"
            "Time, Activity ,position,SUBJECT,z,y,x,battery\r\n"
            "100.00,walk,wrist,ann,3,2,1,99\r\n"
            "100.00,walk,hip,ann,30,20,10,99\r\n"
            "100.02,\"sit, still\",wrist,ann,6,-5e-1, +4,\r\n\r\n"
            "100.02,walk,hip,bob,33,22,11,99");
  dir.write("sub/more.CSV", "x;y;z;activity;position;time\n1;2;3;run;hip;0\n1;2;3;run;hip;0.04\n");
  dir.write("notes.txt", "x,y,z\n");
  const RawDataset data = read_raw("csv", dir.path());
  CHECK(data.id == "csv");
  CHECK(data.task1_names == std::vector<std::string>{"run", "sit, still", "walk"});
  CHECK(data.task2_names == std::vector<std::string>{"hip", "wrist"});
  CHECK(data.report.rows == 6);
  CHECK(data.report.ignored_files == 1);
  REQUIRE(data.recordings.size() == 4);
  const Recording& more = data.recordings[0];  // in natural order of the files
  CHECK(more.subject == "more");
  CHECK(more.task1 == std::vector<std::int32_t>{0, 0});
  CHECK(more.task2 == 0);
  const Recording& wrist = data.recordings[1];
  CHECK(wrist.subject == "ann");
  CHECK(wrist.xyz == std::vector<float>{1, 2, 3, 4, -0.5f, 6});
  CHECK(wrist.task1 == std::vector<std::int32_t>{2, 1});
  CHECK(wrist.task2 == 1);
  REQUIRE(wrist.time.size() == 2);
  CHECK(wrist.time[0] == 0);
  CHECK(wrist.time[1] == Approx(0.02));
  CHECK(data.recordings[2].subject == "ann");
  CHECK(data.recordings[2].xyz == std::vector<float>{10, 20, 30});
  CHECK(data.recordings[3].subject == "bob");
  CHECK(data.nominal_hz == 25);  // the one run of more than a sample
}

TEST_CASE("csv: without labels, times and subjects") {
  const TempDirectory dir;
  const auto file = dir.write("me_2.csv", "x\ty\tz\n" + repeat("1\t2\t3\n", 30));
  const RawDataset data = read_raw("csv", file);
  REQUIRE(data.recordings.size() == 1);
  CHECK(data.recordings[0].subject == "me_2");
  CHECK(data.recordings[0].time.empty());
  CHECK(data.nominal_hz == 0);
  CHECK(data.task1_names == std::vector<std::string>{"unlabelled"});
  WindowOptions options = window_preset("strict", "csv");
  options.length = 10;
  options.step = 10;
  CHECK(make_windows(data, options).info.recordings == std::vector<std::string>{"me_2.csv"});
  options.resample_hz = 20;
  CHECK(contains(message_of<InputError>([&] { make_windows(data, options); }), "me_2.csv: rows without times"));
}

TEST_CASE("csv: what is refused") {
  const TempDirectory dir;
  const auto refused = [&](std::string_view text) { return refusal("csv", dir.write("a.csv", text)); };
  CHECK(contains(refused("x,y\n1,2\n"), "a.csv:1: the header has no column z"));
  CHECK(contains(refused("0.1,0.2,0.3\n"), "a.csv:1: the header has no column x"));
  CHECK(contains(refused("x,y,z,X\n1,2,3,4\n"), "a.csv:1: two columns are named x"));
  CHECK(contains(refused("x,y,z\n"), "holds no data line"));
  CHECK(contains(refused("x,y,\"z\n1,2,3\n"), "a.csv:1: a quote is not closed"));
  CHECK(contains(refused("x,y,z\n1,2,\n"), "a.csv:2: a value is missing"));
  CHECK(contains(refused("x,y,z\n1,2\n"), "a.csv:2: the line is cut short"));
  CHECK(contains(refused("x,y,z\n1,2,3,4\n"), "a.csv:2: more columns than the format has"));
  CHECK(contains(refused("x,y,z\n1,2,3g\n"), "a.csv:2: a value is not a number"));
  CHECK(contains(refused("x,y,z\n1,2,nan\n"), "a.csv:2: a value is not finite"));
  CHECK(contains(refused("x,y,z,activity\n1,2,3,\n"), "a.csv:2: a name is missing"));
  CHECK(contains(refused("x,y,z,activity\n1,2,3,\"a\"b\n"), "a.csv:2: text after a closing quote"));
  CHECK(contains(refused("x,y,z,time\n1,2,3,12:00:01\n"), "a.csv:2: the time is not a number of seconds"));
  CHECK(contains(refused("x,y,z,time\n1,2,3,0\n1,2,3,20\n1,2,3,40\n"), "rows are 20 s apart by the column time"));
  dir.write("a.csv", "x,y,z,activity\n1,2,3,walk\n");
  dir.write("b.csv", "x,y,z\n1,2,3\n");
  CHECK(contains(refusal("csv", dir.path()), "b.csv: has no column activity, unlike "));
}
