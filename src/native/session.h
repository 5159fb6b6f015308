#pragma once
#include <node_api.h>
#include <vector>

/** The functions of session.cc as the addon exports them. */
std::vector<napi_property_descriptor> tinymoe_session_functions();
