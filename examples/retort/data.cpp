// retort data synth | prepare | inspect
#include "retort/data/prepared.h"
#include "retort/data/published.h"
#include "retort/data/synthetic.h"
#include "retort/data/windowing.h"
#include "retort/examples/retort/command.h"

#include <map>

namespace retort::command {

namespace {

const std::vector<std::string> datasets{"sleep", "mhealth", "wisdm"};

void add_synth(CLI::App& data, Command& command) {
  auto* app = data.add_subcommand("synth", "Write synthetic raw recordings in a data set's own file format");
  auto options = std::make_shared<SyntheticOptions>();
  auto out = std::make_shared<std::string>();
  add_choice(*app, "--dataset", options->dataset, datasets, "Whose format: sleep, mhealth or wisdm");
  app->add_option("--out", *out, "Directory to write to")->required();
  app->add_option("--subjects", options->subjects, "People; 0: as many as the real data set has")->check(CLI::Range(0, 1000));
  app->add_option("--seconds", options->seconds, "Of each posture or activity; 0: as the real data set")
      ->check(CLI::Range(0.0, 1e6));
  app->add_option("--seed", options->seed, "The same seed gives the same files")->check(CLI::NonNegativeNumber);
  app->callback([=, &command] {
    command.run = [=] {
      const auto summary = write_synthetic(*out, *options);
      fmt::print("SYNTHETIC {} recordings: {} files, {} rows, {:.1f} MB in {}\n", options->dataset, summary.files, summary.rows,
                 static_cast<double>(summary.bytes) / 1e6, *out);
      return ok;
    };
  });
}

void print_report(const RawDataset& raw) {
  const ParseReport& r = raw.report;
  fmt::print("{} {}: {} files, {} recordings, {} rows\n", raw.synthetic ? "SYNTHETIC" : "read", raw.id, raw.sources.size(),
             raw.recordings.size(), r.rows);
  if (r.skipped_lines > 0) fmt::print("  skipped {} bad lines, the first: {}\n", r.skipped_lines, r.first_skipped);
  if (r.ignored_files > 0) fmt::print("  ignored {} files with other names, e.g. {}\n", r.ignored_files, r.first_ignored);
  if (r.zero_streams > 0) fmt::print("  left out {} streams that are all zero (sensors that were not there)\n", r.zero_streams);
  if (r.repeated_rows > 0) fmt::print("  {} rows repeat the beginning of their own file\n", r.repeated_rows);
  if (r.runs_by_rate.size() > 1) {
    fmt::print("  mixed sampling rates:");
    for (const auto& [hz, runs] : r.runs_by_rate)
      fmt::print(" {} Hz in {} runs{}", hz, runs, hz == r.runs_by_rate.rbegin()->first ? "\n" : ",");
  }
  for (const auto& missing : r.missing)
    fmt::print("  {} has no {}\n", missing.source, raw.task1_names[static_cast<std::size_t>(missing.label)]);
  for (const auto& note : r.notes) fmt::print("  {}\n", note);
}

void print_classes(const WindowSet& set) {
  const auto published = published_classes(set.info.dataset);
  const auto counts = count_labels(set.task1, set.info.task1_names.size());
  std::vector<std::vector<std::string>> rows;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    rows.push_back({std::to_string(i), set.info.task1_names[i], std::to_string(counts[i])});
    if (i < published.size()) {
      rows.back().push_back(std::to_string(published[i].train + published[i].test));
      total += published[i].train + published[i].test;
    }
  }
  std::vector<std::string> headings{"task 1", "class", "windows"};
  rows.push_back({"", "all", std::to_string(set.count())});
  if (!published.empty()) {
    headings.emplace_back("published");
    rows.back().push_back(std::to_string(total));
  }
  print_columns(headings, rows);
  fmt::print("\n");
  rows.clear();
  const auto positions = count_labels(set.task2, set.info.task2_names.size());
  for (std::size_t i = 0; i < positions.size(); ++i)
    rows.push_back({std::to_string(i), set.info.task2_names[i], std::to_string(positions[i])});
  print_columns({"task 2", "class", "windows"}, rows);
}

struct PrepareOptions {
  std::string dataset, raw, out, preset = "strict", label, axis_layout;
  bool across = false, lenient = false;
  double resample = 0;
  int length = 100, step = 60;
};

void add_prepare(CLI::App& data, Command& command) {
  auto* app = data.add_subcommand("prepare", "Cut raw recordings into labelled windows, one safetensors file");
  auto o = std::make_shared<PrepareOptions>();
  add_choice(*app, "--dataset", o->dataset, {"sleep", "mhealth", "wisdm", "csv"},
             "Format of the raw files; csv: one's own, with a header that names x, y, z and, if there, time (seconds), activity, "
             "position and subject")
      ->required();
  app->add_option("--raw", o->raw, "Directory (or file) with the raw recordings")->required();
  app->add_option("--out", o->out, "Prepared file to write, *.safetensors")->required();
  add_choice(*app, "--preset", o->preset, {"released", "paper", "strict"}, "Bundle of the switches below");
  auto* label = add_choice(*app, "--label", o->label, {"majority", "last"},
                           "Label of a window: the most frequent one, or its last sample's");
  label->default_str("[preset]");
  auto* layout = add_choice(*app, "--axis-layout", o->axis_layout, {"transposed", "interleaved"},
                            "Rows of a window: x, y and z, or the samples one after another as the released code has them");
  layout->default_str("[preset]");
  auto* across = app->add_flag("--across-recordings,!--within-recordings", o->across,
                               "Whether windows may cross the border of two recordings; default: the preset's");
  auto* resample = app->add_option("--resample", o->resample, "Interpolate to this rate; 0: leave rows as they are")
                       ->type_name("HZ")
                       ->check(CLI::Range(0.0, 1e4))
                       ->default_str("[preset]");
  app->add_option("--length", o->length, "Samples in a window")->check(CLI::Range(1, 100000));
  app->add_option("--step", o->step, "Samples between the starts of two windows")->check(CLI::Range(1, 100000));
  app->add_flag("--lenient", o->lenient, "Accept files in which more than 1 % of the lines are bad");
  app->callback([=, &command] {
    command.run = [=] {
      WindowOptions options = window_preset(o->preset, o->dataset);
      options.length = o->length;
      options.step = o->step;
      if (label->count()) options.label = parse_label_rule(o->label);
      if (layout->count()) options.axis_layout = parse_axis_layout(o->axis_layout);
      if (across->count()) options.across_recordings = o->across;
      if (resample->count()) options.resample_hz = o->resample;
      const RawDataset raw = read_raw(o->dataset, o->raw, {.lenient = o->lenient});
      print_report(raw);
      check<InputError>(raw.task1_names.size() > 1 || raw.task2_names.size() > 1,
                        "{}: one activity at one position; there is nothing to tell apart", o->raw);
      const WindowSet windows = make_windows(raw, options);
      save_prepared(o->out, windows);
      fmt::print("{} windows of {} samples ({} preset) in {}\n\n", windows.count(), options.length, options.preset, o->out);
      print_classes(windows);
      return ok;
    };
  });
}

Json counts_json(std::span<const std::int32_t> labels, const std::vector<std::string>& names) {
  Json json = Json::object();
  const auto counts = count_labels(labels, names.size());
  for (std::size_t i = 0; i < names.size(); ++i) json[names[i]] = counts[i];
  return json;
}

Json inspect_json(const std::string& file, const WindowSet& set) {
  const WindowInfo& info = set.info;
  Json json = {{"file", file},
               {"dataset", info.dataset},
               {"synthetic", info.synthetic},
               {"windows", set.count()},
               {"shape", {set.count(), 1, 3, info.options.length}},
               {"preset", info.options.preset},
               {"label", name(info.options.label)},
               {"axis_layout", name(info.options.axis_layout)},
               {"across_recordings", info.options.across_recordings},
               {"resample_hz", info.options.resample_hz},
               {"subjects", info.subjects.size()},
               {"recordings", info.recordings.size()},
               {"version", info.version},
               {"task1", counts_json(set.task1, info.task1_names)},
               {"task2", counts_json(set.task2, info.task2_names)}};
  json["notes"] = info.notes;
  return json;
}

void add_inspect(CLI::App& data, Command& command) {
  auto* app =
      data.add_subcommand("inspect", "Windows, classes and subjects of a prepared file, beside the paper's tables 2 to 4");
  auto file = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  app->add_option("file", *file, "Prepared file")->required();
  app->add_flag("--json", *json, "As one JSON object");
  app->callback([=, &command] {
    command.run = [=] {
      const WindowSet set = load_prepared(*file, ValueCheck::all);
      if (*json) {
        fmt::print("{}\n", dump(inspect_json(*file, set), 2));
        return ok;
      }
      const WindowInfo& info = set.info;
      fmt::print("{}: {}{}, {} windows (1, 3, {}), {} subjects, {} recordings\n", *file, info.synthetic ? "SYNTHETIC " : "",
                 info.dataset, set.count(), info.options.length, info.subjects.size(), info.recordings.size());
      fmt::print("preset {}: label {}, axes {}, windows {} recordings{}\n\n", info.options.preset, name(info.options.label),
                 name(info.options.axis_layout), info.options.across_recordings ? "across" : "within",
                 info.options.resample_hz > 0 ? fmt::format(", resampled to {} Hz", info.options.resample_hz) : "");
      print_classes(set);
      if (!info.notes.empty()) fmt::print("\n");
      for (const auto& note : info.notes) fmt::print("note: {}\n", note);
      return ok;
    };
  });
}

}  // namespace

void add_data(CLI::App& app, Command& command) {
  auto* data = app.add_subcommand("data", "Make, prepare and inspect data sets");
  data->require_subcommand(1);
  add_synth(*data, command);
  add_prepare(*data, command);
  add_inspect(*data, command);
}

}  // namespace retort::command
