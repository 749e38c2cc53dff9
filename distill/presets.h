// The three presets as training options (the data side is data/windowing.h): which model, which split, which epoch's weights are tested.
//
//              released                                            paper            strict
//   model      mtl-net-released                                    mtl-net-paper    mtl-net
//   split      random                                              stratified       by subject
//   selection  best-task1 for smooth-distill, last for the others  best-mean        best-mean
#pragma once

#include "retort/distill/run_record.h"

namespace retort {

/// The options of a run of `method` under `preset`, before the user's own; the losses' weights are the method's published ones.
/// InputError for an unknown name.
RunConfig default_config(const std::string& preset, const std::string& method);

}  // namespace retort
