import Foundation

// The app's pre-processing on a desktop. Arguments: the upright photo's width and height and a file of its RGB bytes; height,
// width and file of the tensor that must be made of it. Prints the largest difference, the window, and the largest
// difference after the way back to 8 bits.
let arguments = CommandLine.arguments
let numbers = arguments.compactMap { Int($0) }
let rgb = try Data(contentsOf: URL(fileURLWithPath: arguments[3]))
let photo = Picture(width: numbers[0], height: numbers[1], rgb: [UInt8](rgb))
let bytes = try Data(contentsOf: URL(fileURLWithPath: arguments[6]))
let expected = bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }

let prepared = fit(photo, height: numbers[2], width: numbers[3])
let made = prepared.tensor.values
let again = prepared.tensor.picture.rgb.map { Float($0) / 255 }
let window = prepared.window
print(zip(made, expected).map { abs($0 - $1) }.max()!)
print(window.top, window.left, window.height, window.width)
print(zip(made, again).map { abs($0 - $1) }.max()!)
