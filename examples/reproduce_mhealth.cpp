// The paper's table 5 for MHEALTH (UCI 319).
#include "published_hashes.h"  // made by CMake from examples/hashes
#include "retort/examples/reproduce/reproduce.h"

int main(int argc, char** argv) { return retort::reproduce({"mhealth", retort::mhealth_hashes}, argc, argv); }
