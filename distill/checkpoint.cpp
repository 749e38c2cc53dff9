// Saving and resuming of the trainer: checkpoint.safetensors holds every tensor that a step changes, its metadata where the run
// stands.
#include "retort/distill/trainer.h"

#include <algorithm>
#include <array>

namespace retort {

namespace {

constexpr const char* format = "retort-checkpoint-1";

void write_tensors(const std::filesystem::path& path, const std::vector<nn::NamedTensor>& tensors, const Metadata& metadata) {
  std::vector<std::vector<float>> floats;
  std::vector<std::vector<std::int32_t>> ints;
  std::vector<NamedArray> arrays;
  floats.reserve(tensors.size());
  ints.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dtype() == DType::f32) {
      floats.push_back(tensor.to_vector());
      arrays.push_back(named_array(name, tensor.shape(), std::span<const float>(floats.back())));
    } else {
      ints.push_back(tensor.to_ints());
      arrays.push_back(named_array(name, tensor.shape(), std::span<const std::int32_t>(ints.back())));
    }
  }
  write_safetensors(path, arrays, metadata);
}

void read_tensors(const SafetensorsFile& file, const std::vector<nn::NamedTensor>& tensors) {
  for (const auto& [name, tensor] : tensors)
    check<InputError>(file.contains(name) && file.shape(name) == tensor.shape(),
                      "{}: tensor '{}' is missing or not {}; this checkpoint is of another run", file.path().string(), name,
                      tensor.shape().str());
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dtype() == DType::f32)
      tensor.copy_from_host(file.floats(name));
    else
      tensor.copy_from_host(file.ints(name));
  }
}

/// What a killed process was writing: "last.safetensors.<pid>-0.tmp" and the like.
void remove_torn_files(const std::filesystem::path& directory) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    const bool ours = std::ranges::any_of(std::array{".safetensors.", ".json.", ".jsonl.", ".html."},
                                          [&](const char* part) { return name.find(part) != name.npos; });
    if (ours && name.ends_with(".tmp") && entry.is_regular_file()) std::filesystem::remove(entry.path());
  }
}

}  // namespace

void Trainer::save_checkpoint() {
  save_weights(directory_ / run_files::last, state_->model(), info_);
  if (state_->has_best()) {
    state_->swap_best();
    save_weights(directory_ / run_files::best, state_->model(), info_);
    state_->swap_best();
  }
  if (state_->teacher()) save_weights(directory_ / run_files::teacher, *state_->teacher(), info_);
  write_checkpoint();
}

void Trainer::write_checkpoint() {
  log_->flush();  // the log may be ahead of the checkpoint, never behind it
  std::vector<nn::NamedTensor> tensors;
  state_->append_to(tensors);
  tensors.push_back({"epoch.losses", feed_.history()});
  tensors.push_back({"epoch.confusion1", confusion1_});
  tensors.push_back({"epoch.confusion2", confusion2_});
  const auto cursor = loader_->cursor();
  const Json position = {{"stage", position_.stage},           {"step", position_.step},
                         {"epoch", position_.epoch},           {"best_score", position_.best_score},
                         {"best_epoch", position_.best_epoch}, {"seconds", position_.seconds},
                         {"loader_epoch", cursor.epoch},       {"loader_position", cursor.position},
                         {"has_best", state_->has_best()},     {"energy", json_detail::to_json_value(position_.energy)}};
  write_tensors(directory_ / run_files::checkpoint, tensors, {{"format", format}, {"position", position.dump()}});
}

void Trainer::resume() {
  const auto path = directory_ / run_files::checkpoint;
  check<InputError>(std::filesystem::exists(path), "{}: no checkpoint to resume from; start the run without --resume",
                    path.string());
  const SafetensorsFile file(path);
  const auto& metadata = file.metadata();
  check<InputError>(metadata.contains("format") && metadata.at("format") == format && metadata.contains("position"),
                    "{}: not a checkpoint of this program", path.string());
  Loader::Cursor cursor;
  bool has_best = false;
  try {
    const Json p = Json::parse(metadata.at("position"));
    p.at("stage").get_to(position_.stage);
    p.at("step").get_to(position_.step);
    p.at("epoch").get_to(position_.epoch);
    p.at("best_epoch").get_to(position_.best_epoch);
    p.at("seconds").get_to(position_.seconds);
    position_.energy = p.contains("energy")
                           ? json_detail::from_json_value<std::optional<Energy>>(p.at("energy"), path.string(), "energy")
                           : std::nullopt;
    p.at("loader_epoch").get_to(cursor.epoch);
    p.at("loader_position").get_to(cursor.position);
    p.at("has_best").get_to(has_best);
    check<InputError>(position_.stage >= 0 && position_.stage < static_cast<std::int64_t>(stages_.size()),
                      "{}: stage {} of a method with {}", path.string(), position_.stage, stages_.size());
    graph_.reset();
    state_ = std::make_unique<TrainingState>(context_, config_, model_spec(info_, config_.seed),
                                             stages_[static_cast<std::size_t>(position_.stage)]);
    p.at("best_score").get_to(position_.best_score);
  } catch (const Json::exception& error) {
    fail<InputError>("{}: damaged position: {}", path.string(), error.what());
  }
  if (has_best) state_->keep_best();
  std::vector<nn::NamedTensor> tensors;
  state_->append_to(tensors);
  tensors.push_back({"epoch.losses", feed_.history()});
  tensors.push_back({"epoch.confusion1", confusion1_});
  tensors.push_back({"epoch.confusion2", confusion2_});
  read_tensors(file, tensors);
  loader_->restore(cursor);
  remove_torn_files(directory_);
  log_ = MetricsLog::resume(directory_, {position_.step, position_.epoch});
}

}  // namespace retort
