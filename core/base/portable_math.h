/* exp and log of our own: the same bytes on every machine, which libm does not promise. Built from
 * IEEE operations only and compiled without fused contraction. Errors stay below 2 ulp. */
#ifndef RZ_BASE_PORTABLE_MATH_H
#define RZ_BASE_PORTABLE_MATH_H

double rz_exp(double x);     /* 0 below -745, infinity above 709.8 */
double rz_log(double x);     /* -infinity at 0, NaN below */
double rz_sqrt(double x);    /* IEEE requires it to be exact */
double rz_sigmoid(double x); /* 1 / (1 + exp(-x)), safe at both ends */
double rz_logit(double p);   /* log(p / (1 - p)); infinite at 0 and 1 */

#endif
