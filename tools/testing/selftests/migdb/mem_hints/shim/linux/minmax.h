/* SPDX-License-Identifier: GPL-2.0 */
#ifndef min_t
#define min_t(type, a, b) ((type)(a) < (type)(b) ? (type)(a) : (type)(b))
#endif
#ifndef min
#define min(a, b)		({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#endif
#ifndef min_not_zero
#define min_not_zero(a, b)	({ typeof(a) _p = (a); typeof(b) _q = (b); \
				   _p && (!_q || _p < _q) ? _p : _q; })
#endif
