/* version.h - the version that you compile against; slm_version_number() is the one that runs. */
#ifndef SLM_VERSION_H
#define SLM_VERSION_H

#define SLM_VERSION_MAJOR 0
#define SLM_VERSION_MINOR 1
#define SLM_VERSION_PATCH 0
#define SLM_VERSION_NUMBER (SLM_VERSION_MAJOR * 10000 + SLM_VERSION_MINOR * 100 + SLM_VERSION_PATCH)
#define SLM_VERSION_STRING "0.1.0"

#endif
