/* What a simulated patient's state is made of. An item is a condition or a treatment; the state of
 * a patient is the day on which each item was first coded, and nothing else. Pools are groups of
 * drugs for passing illnesses, which no hazard reads. */
#ifndef RZ_SIMULATE_ITEMS_H
#define RZ_SIMULATE_ITEMS_H

#include <stdint.h>

/* name, course: 0 for what stays (it is coded again and again), else the days it is treated for. */
#define RZ_SIM_CONDITION_MAP(X)                                                                    \
    X(HYPERTENSION, 0)                                                                             \
    X(HIGH_READING, 60)                                                                            \
    X(DIABETES, 0)                                                                                 \
    X(HIGH_GLUCOSE, 60)                                                                            \
    X(DYSLIPIDAEMIA, 0)                                                                            \
    X(OBESITY, 0)                                                                                  \
    X(HIGH_URATE, 0)                                                                               \
    X(GOUT, 30)                                                                                    \
    X(KIDNEY_DISEASE, 0)                                                                           \
    X(PROTEINURIA, 90)                                                                             \
    X(KIDNEY_FUNCTION, 90)                                                                         \
    X(NEPHRITIS, 0)                                                                                \
    X(ATRIAL_FIBRILLATION, 0)                                                                      \
    X(ARRHYTHMIA, 90)                                                                              \
    X(HEART_ISCHAEMIA, 0)                                                                          \
    X(HEART_FAILURE, 0)                                                                            \
    X(VALVE, 0)                                                                                    \
    X(STROKE, 0)                                                                                   \
    X(LEG_ARTERIES, 0)                                                                             \
    X(COPD, 0)                                                                                     \
    X(ASTHMA, 0)                                                                                   \
    X(REFLUX, 0)                                                                                   \
    X(GASTRITIS, 120)                                                                              \
    X(CONSTIPATION, 0)                                                                             \
    X(OSTEOPOROSIS, 0)                                                                             \
    X(BACK_PAIN, 120)                                                                              \
    X(SPINAL_STENOSIS, 0)                                                                          \
    X(DISC, 180)                                                                                   \
    X(SCIATICA, 120)                                                                               \
    X(NECK_ROOT, 180)                                                                              \
    X(KNEE, 0)                                                                                     \
    X(SHOULDER, 120)                                                                               \
    X(RHEUMATOID, 0)                                                                               \
    X(SHINGLES, 45)                                                                                \
    X(SHINGLES_PAIN, 180)                                                                          \
    X(DIABETIC_NERVES, 0)                                                                          \
    X(NERVE_PAIN, 180)                                                                             \
    X(CHEMO_NERVES, 180)                                                                           \
    X(FIBROMYALGIA, 0)                                                                             \
    X(DIABETIC_EYES, 0)                                                                            \
    X(DEPRESSION, 0)                                                                               \
    X(ANXIETY, 0)                                                                                  \
    X(INSOMNIA, 0)                                                                                 \
    X(SLEEP_APNOEA, 0)                                                                             \
    X(DEMENTIA, 0)                                                                                 \
    X(DELIRIUM, 30)                                                                                \
    X(PARKINSON, 0)                                                                                \
    X(EPILEPSY, 0)                                                                                 \
    X(MIGRAINE, 0)                                                                                 \
    X(PROSTATE, 0)                                                                                 \
    X(BLADDER_URGE, 0)                                                                             \
    X(CANCER_PROSTATE, 0)                                                                          \
    X(CANCER_BREAST, 0)                                                                            \
    X(CANCER_BOWEL, 0)                                                                             \
    X(CANCER_STOMACH, 0)                                                                           \
    X(CANCER_LUNG, 0)                                                                              \
    X(FATTY_LIVER, 0)                                                                              \
    X(VIRAL_HEPATITIS, 0)                                                                          \
    X(CANCER_LIVER, 0)                                                                             \
    X(RHINITIS, 0)                                                                                 \
    X(ATOPIC, 0)                                                                                   \
    X(LOW_THYROID, 0)                                                                              \
    X(HIGH_THYROID, 0)                                                                             \
    X(ANAEMIA, 180)                                                                                \
    X(HIP_FRACTURE, 90)                                                                            \
    X(SPINE_FRACTURE, 120)                                                                         \
    X(PNEUMONIA, 30)                                                                               \
    X(URINARY_INFECTION, 20)                                                                       \
    X(CATARACT, 0)                                                                                 \
    X(GLAUCOMA, 0)                                                                                 \
    X(DRY_EYE, 0)                                                                                  \
    X(MENOPAUSE, 365)                                                                              \
    X(GALLSTONES, 90)                                                                              \
    X(OEDEMA, 90)                                                                                  \
    X(KIDNEY_STONE, 60)                                                                            \
    X(DIZZINESS, 60)                                                                               \
    X(DEHYDRATION, 14)

#define RZ_SIM_TREATMENT_MAP(X)                                                                    \
    X(AMLODIPINE, 0)                                                                               \
    X(ARB, 0)                                                                                      \
    X(OTHER_CCB, 0)                                                                                \
    X(COMBINATION, 0)                                                                              \
    X(ACE, 0)                                                                                      \
    X(BETA_BLOCKER, 0)                                                                             \
    X(THIAZIDE, 0)                                                                                 \
    X(LOOP, 0)                                                                                     \
    X(MRA, 0)                                                                                      \
    X(STATIN, 0)                                                                                   \
    X(LIPID_OTHER, 0)                                                                              \
    X(DPP4, 0)                                                                                     \
    X(METFORMIN, 0)                                                                                \
    X(SGLT2, 0)                                                                                    \
    X(SULFONYLUREA, 0)                                                                             \
    X(INSULIN, 0)                                                                                  \
    X(GLP1, 0)                                                                                     \
    X(URATE, 0)                                                                                    \
    X(COLCHICINE, 20)                                                                              \
    X(ANTIPLATELET, 0)                                                                             \
    X(ANTICOAGULANT, 0)                                                                            \
    X(NITRATE, 0)                                                                                  \
    X(PPI, 0)                                                                                      \
    X(H2_BLOCKER, 120)                                                                             \
    X(MUCOSAL, 120)                                                                                \
    X(NSAID, 60)                                                                                   \
    X(ACETAMINOPHEN, 60)                                                                           \
    X(TOPICAL_NSAID, 180)                                                                          \
    X(TRAMADOL, 180)                                                                               \
    X(OPIOID, 120)                                                                                 \
    X(PREGABALIN, 270)                                                                             \
    X(MIROGABALIN, 270)                                                                            \
    X(DULOXETINE, 0)                                                                               \
    X(MECOBALAMIN, 180)                                                                            \
    X(SSRI, 0)                                                                                     \
    X(ANXIOLYTIC, 0)                                                                               \
    X(HYPNOTIC, 0)                                                                                 \
    X(CHOLINESTERASE, 0)                                                                           \
    X(LEVODOPA, 0)                                                                                 \
    X(ANTIEPILEPTIC, 0)                                                                            \
    X(TRIPTAN, 0)                                                                                  \
    X(ALPHA_BLOCKER, 0)                                                                            \
    X(BLADDER, 0)                                                                                  \
    X(HORMONE_PROSTATE, 0)                                                                         \
    X(HORMONE_BREAST, 0)                                                                           \
    X(CHEMOTHERAPY, 180)                                                                           \
    X(BONE, 0)                                                                                     \
    X(VITAMIN_D, 0)                                                                                \
    X(STEROID, 60)                                                                                 \
    X(DMARD, 0)                                                                                    \
    X(INHALED_STEROID, 0)                                                                          \
    X(LAMA, 0)                                                                                     \
    X(LEUKOTRIENE, 90)                                                                             \
    X(ANTIHISTAMINE, 60)                                                                           \
    X(NASAL_STEROID, 60)                                                                           \
    X(LAXATIVE, 0)                                                                                 \
    X(IRON, 180)                                                                                   \
    X(THYROXINE, 0)                                                                                \
    X(THIAMAZOLE, 0)                                                                               \
    X(UDCA, 0)                                                                                     \
    X(ANTIVIRAL, 7)                                                                                \
    X(GLAUCOMA_DROPS, 0)                                                                           \
    X(DRY_EYE_DROPS, 0)                                                                            \
    X(RENAL_AGENT, 0)                                                                              \
    X(KAMPO_PAIN, 90)                                                                              \
    X(KAMPO_OTHER, 90)                                                                             \
    X(VERTIGO, 30)                                                                                 \
    X(HEPATITIS_CURE, 84)

#define RZ_SIM_POOL_MAP(X)                                                                         \
    X(BG_ANTIBIOTIC)                                                                               \
    X(BG_COUGH)                                                                                    \
    X(BG_GUT)                                                                                      \
    X(BG_SKIN)                                                                                     \
    X(BG_ANTIFUNGAL)                                                                               \
    X(BG_EYE)                                                                                      \
    X(BG_FLU)                                                                                      \
    X(BG_MUSCLE)                                                                                   \
    X(BG_MOUTH)                                                                                    \
    X(BG_INPATIENT)

typedef enum rz_sim_item {
#define RZ_SIM_ENUM(id, course) RZ_SIM_##id,
    RZ_SIM_CONDITION_MAP(RZ_SIM_ENUM) RZ_SIM_TREATMENT_MAP(RZ_SIM_ENUM)
#undef RZ_SIM_ENUM
        RZ_SIM_DEATH, /* coded as the day of death */
    RZ_SIM_LEAVING,   /* moving away: the record ends without a word */
    RZ_SIM_ITEMS,
    RZ_SIM_POOLS_FROM = RZ_SIM_ITEMS - 1,
#define RZ_SIM_ENUM(id) RZ_SIM_##id,
    RZ_SIM_POOL_MAP(RZ_SIM_ENUM)
#undef RZ_SIM_ENUM
        RZ_SIM_POOLS,
    RZ_SIM_NO_DRUG = RZ_SIM_POOLS /* a background illness without a drug */
} rz_sim_item;

enum {
    RZ_SIM_CONDITIONS = RZ_SIM_AMLODIPINE, /* conditions are the items below this one */
    RZ_SIM_HABITS = 4,                     /* hospitals repeat four ways of working */
};

#endif
