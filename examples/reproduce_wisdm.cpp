// The paper's table 5 for WISDM 2019 (UCI 507).
#include "published_hashes.h"  // made by CMake from examples/hashes
#include "retort/examples/reproduce/reproduce.h"

int main(int argc, char** argv) { return retort::reproduce({"wisdm", retort::wisdm_hashes}, argc, argv); }
